"""Folders of images for calibration, gates and evaluation."""
