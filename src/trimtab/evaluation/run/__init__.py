"""Run a comparison: prompt sets, methods, the sweep and its timing."""
