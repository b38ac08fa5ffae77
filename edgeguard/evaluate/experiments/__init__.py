"""Experiments on top of single evaluations: attack matrix, guard search, patch certification."""
