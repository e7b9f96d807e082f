"""Draft heads: small networks that guess a language model's next tokens, so that it checks several at once."""
