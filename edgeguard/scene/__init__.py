"""Rendered scenes with printable cards: what the demo, the tests and the virtual field look at."""
