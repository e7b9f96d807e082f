"""Engines: what turns a prompt and a steer into text. One protocol, one decode loop, one adapter for transformers."""
