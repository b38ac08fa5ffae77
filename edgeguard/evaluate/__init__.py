"""Attacking what is deployed: a differentiable twin of a .tflite, attacks on its guard, protocols and their reports."""

from edgeguard.evaluate.twin import Twin, twin

__all__ = ["Twin", "twin"]
