"""Pictures as DOT text, and what Graphviz makes of it."""
