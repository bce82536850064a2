"""The core: types, ops and their registry, nodes, tensors, `apply`, the engine and graphs. It imports no op."""
