"""Forms of ONNX's operators in NumPy and ops, one family a file; importing this fills the table."""
