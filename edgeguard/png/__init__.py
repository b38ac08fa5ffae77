"""Frames without loss: a writer of PNG that is quick on frames after pass 1, and a reader that takes nothing else."""
