"""Log file, temporary folder, memory, cache."""
