"""Graphs and states outside the program: networkx, files, tables. networkx and file formats are imported on use."""

from tinygraph.interop.graphs.graph_files import load as load
from tinygraph.interop.graphs.graph_files import save_graph as save_graph
from tinygraph.interop.graphs.networkx_graphs import from_networkx as from_networkx
from tinygraph.interop.graphs.networkx_graphs import to_networkx as to_networkx
from tinygraph.interop.graphs.summaries import summary as summary
from tinygraph.interop.states import load_state as load_state
from tinygraph.interop.states import save_state as save_state
