"""Fractional max pooling for tinygraph: importing this package declares its ops."""

from tinygraph_fractional_pool.fractional_pool import fractional_max_pool as fractional_max_pool
from tinygraph_fractional_pool.fractional_pool import fractional_max_pool_index as fractional_max_pool_index
