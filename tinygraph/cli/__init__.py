"""The `tinygraph` command. Each command lives in a file of its own, imported when it is called."""

from tinygraph.cli.app import main as main
