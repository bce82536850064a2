"""Graphs outside the program: descriptions, files, networkx, tables."""
