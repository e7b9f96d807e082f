"""The torch engine: a `transformers` model in this process."""
