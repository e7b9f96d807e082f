"""The ground floor: a frozen causal language model, where its weights come from, and its KV cache."""
