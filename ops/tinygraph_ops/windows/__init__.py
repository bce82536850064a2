"""Sliding windows: where they lie and what is computed on them, shared by convolutions and pools."""
