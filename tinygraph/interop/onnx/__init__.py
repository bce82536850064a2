"""ONNX: models read as graphs, graphs written as models. The package `onnx` is imported on use."""
