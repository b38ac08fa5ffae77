"""Poisoned training data: making them, and measuring what they and a codec do to a training. Threat model training."""
