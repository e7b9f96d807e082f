"""Score the texts of a comparison: readings, metrics, bootstrap intervals."""
