"""What to steer, which way, how hard, and the one rule that does it; no model in sight."""
