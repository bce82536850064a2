"""`python -m tinygraph`: the command line, where its script is not on the PATH."""

from tinygraph.cli import main

if __name__ == "__main__":
    main()
