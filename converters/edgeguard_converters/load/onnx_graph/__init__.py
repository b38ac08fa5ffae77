"""ONNX graphs as torch modules: our own importer."""
