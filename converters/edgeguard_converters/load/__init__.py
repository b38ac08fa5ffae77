"""Trained models from their files: one module a format, `registry.load_source` chooses."""
