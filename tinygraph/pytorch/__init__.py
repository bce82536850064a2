"""PyTorch's modules as graphs: exported by `torch.export`, then run op by op in ours. PyTorch is imported on use."""

from tinygraph.pytorch.front import from_torch as from_torch
