"""Converting classifiers of sound."""
