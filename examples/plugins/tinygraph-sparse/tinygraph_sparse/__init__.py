"""Sparse matrix products for tinygraph: importing this package declares its ops."""

from tinygraph_sparse.sparse import csr_matmul as csr_matmul
from tinygraph_sparse.sparse import csr_rows as csr_rows
from tinygraph_sparse.sparse import sampled_matmul as sampled_matmul
from tinygraph_sparse.sparse import sparse_matmul as sparse_matmul
