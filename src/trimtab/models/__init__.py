"""Frozen language models: weights, tokenizer, KV cache, prefix cache."""
