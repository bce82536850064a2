"""Graphs and states outside the program: networkx, files, tables. networkx and file formats are imported on use."""

from tinygraph.interop.files import load as load
from tinygraph.interop.files import save_graph as save_graph
from tinygraph.interop.networkx_graphs import from_networkx as from_networkx
from tinygraph.interop.networkx_graphs import to_networkx as to_networkx
from tinygraph.interop.state_files import load_state as load_state
from tinygraph.interop.state_files import save_state as save_state
from tinygraph.interop.summaries import summary as summary
