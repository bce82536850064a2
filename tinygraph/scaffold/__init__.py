"""Starting an op: `tinygraph ops new` writes a whole package, or one file, that passes its checks at once."""

from tinygraph.scaffold.request import Request as Request
from tinygraph.scaffold.writing import write_file as write_file
from tinygraph.scaffold.writing import write_package as write_package
