"""`tinygraph bench`: whole training steps against the frameworks that are installed, and how to measure fairly."""
