"""The .tflite as a graph: reading, editing, cleaning up, running."""
