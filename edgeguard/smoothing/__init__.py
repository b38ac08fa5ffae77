"""Randomized smoothing of the deployed file: the class that noise leaves, and a radius in which nothing changes it."""
