"""The camera's own JPEG encoder: what it can be told, what to tell it, and what it then did."""
