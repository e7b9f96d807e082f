"""Rewind: RAIN (2309.07124), a tree search in which drafts are judged and words are taken back."""
