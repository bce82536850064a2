"""The story of one number: one element of one kernel, followed from its first training step to its last."""
