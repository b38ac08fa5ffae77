"""The sensor node: capture, pass 1, and the stream that it serves."""
