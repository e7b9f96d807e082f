"""Report a comparison: tables, JSON, plots."""
