"""The time and memory of a token: transformers' generate, our loop, and every way to steer it."""
