"""A Ray cluster: joined, and given work that its actors answer."""
