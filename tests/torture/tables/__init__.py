"""The cases, as data: a file for each command."""
