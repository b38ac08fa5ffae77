"""What the contract of a conversion says: inferred from the file, the options and the outputs."""
