"""Analysis: what a graph reads, costs and keeps, and which pass a node is of; asked by passes, plans and drawings."""
