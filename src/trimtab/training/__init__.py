"""Training rewards: data, objectives, and transformers' Trainer around a reward network."""
