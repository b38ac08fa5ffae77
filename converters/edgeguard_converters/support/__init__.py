"""Log file, memory, cache."""
