"""Differentiable sorting for tinygraph: importing this package declares its ops."""

from tinygraph_soft_sort.isotonic import block_mean as block_mean
from tinygraph_soft_sort.isotonic import isotonic as isotonic
from tinygraph_soft_sort.isotonic import isotonic_blocks as isotonic_blocks
from tinygraph_soft_sort.soft_sort import soft_rank as soft_rank
from tinygraph_soft_sort.soft_sort import soft_sort as soft_sort
