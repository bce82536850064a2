"""How ops are written in ONNX's operators, one family a file; importing them fills the table."""
