"""A deployed .tflite rebuilt as a differentiable network: graph, operators, network."""
