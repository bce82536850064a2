"""Packages of ops: what one says of itself, manifest and cards, read without importing it."""
