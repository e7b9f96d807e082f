"""Compare methods: how much control each has, and what it costs in fluency and time."""
