"""Reward models for decoding: a trunk, a head and a card, and the per-request state that scores candidates."""
