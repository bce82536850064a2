"""Kernels of images, channels last with a halo: convolutions, pools, and the changes of layout around them."""
