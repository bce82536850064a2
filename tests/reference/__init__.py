"""PyTorch's values as small stored fixtures, and the seeded cases they belong to (see README.md).

Nothing here imports PyTorch but `make_fixtures`, which writes the fixtures.
"""
