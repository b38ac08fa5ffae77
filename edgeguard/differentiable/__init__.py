"""Differentiable stand-ins of the guard and of the crop; needs torch."""
