"""NumPy as the front end: how a NumPy function called on tensors reaches the op that stands for it."""
