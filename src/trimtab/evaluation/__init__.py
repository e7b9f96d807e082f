"""Evaluation: how much control, at what cost in fluency and time; methods side by side, by one command."""
