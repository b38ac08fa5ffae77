"""The Edge TPU: what maps to it, and its compiler."""
