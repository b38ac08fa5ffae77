"""Architectures that are known by their weights: torchvision's and timm's."""
