"""The hash of a text. No torch here, so that a tokenizer loads without it."""

import hashlib

LENGTH = 16  # hexadecimal digits of a fingerprint


def text_fingerprint(text: str) -> str:
    """A hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]
