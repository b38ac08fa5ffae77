"""Defenses to compare the guard with."""
