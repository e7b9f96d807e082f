"""Draft heads: small networks that guess what a language model writes next, so that it checks several tokens at once."""
