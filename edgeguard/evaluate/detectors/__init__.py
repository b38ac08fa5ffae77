"""Attacks and audits of object detectors: twins before suppression, goals, matched boxes, average precision."""
