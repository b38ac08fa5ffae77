"""Training on codec-compressed inputs, and through the guard (torch)."""
