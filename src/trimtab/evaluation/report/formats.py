"""The formats of plots."""

FORMATS = ("png", "svg", "pdf")
DEFAULT_FORMATS = ("png", "svg")
