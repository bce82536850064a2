"""Sampling of images between their pixels for tinygraph: importing this package declares its ops."""

from tinygraph_deformable.deformable import deformable_convolution as deformable_convolution
from tinygraph_deformable.deformable import roi_align as roi_align
from tinygraph_deformable.sampling import bilinear_sample as bilinear_sample
from tinygraph_deformable.sampling import gather_pixels as gather_pixels
from tinygraph_deformable.sampling import scatter_pixels as scatter_pixels
