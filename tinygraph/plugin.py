"""Everything an op author needs, and all that op packages import: `from tinygraph.plugin import op, ops, Sample`."""

import importlib
from types import ModuleType

from tinygraph.analysis.expansion import Affine as Affine
from tinygraph.analysis.expansion import Expansion as Expansion
from tinygraph.analysis.expansion import Read as Read
from tinygraph.analysis.expansion import broadcast_places as broadcast_places
from tinygraph.analysis.expansion import distribution as distribution
from tinygraph.analysis.expansion import indices as indices
from tinygraph.analysis.expansion import moved as moved
from tinygraph.analysis.expansion import reduction as reduction
from tinygraph.analysis.expansion import same_order as same_order
from tinygraph.core.indexing import build_index as build_index
from tinygraph.core.indexing import parse_index as parse_index
from tinygraph.core.op import ErrorSample as ErrorSample
from tinygraph.core.op import Sample as Sample
from tinygraph.core.op import composite as composite
from tinygraph.core.op import op as op
from tinygraph.core.registry import ops as ops
from tinygraph.core.state import Generator as Generator
from tinygraph.core.state import default_generator as default_generator
from tinygraph.core.types import ArrayType as ArrayType
from tinygraph.core.types import broadcast_shapes as broadcast_shapes
from tinygraph.core.types import normalize_axes as normalize_axes
from tinygraph.core.types import reduced_shape as reduced_shape
from tinygraph.errors import DTypeError as DTypeError
from tinygraph.errors import NumpyFunctionError as NumpyFunctionError
from tinygraph.errors import SettingError as SettingError
from tinygraph.errors import ShapeError as ShapeError
from tinygraph.kernels.lowering import Layout as Layout
from tinygraph.kernels.lowering import Layouts as Layouts
from tinygraph.kernels.lowering import Lowering as Lowering
from tinygraph.kernels.lowering import Types as Types
from tinygraph.kernels.lowering import channels_last as channels_last
from tinygraph.kernels.lowering import in_order as in_order
from tinygraph.kernels.lowering import rows as rows


def kernel_language() -> ModuleType | None:
    """The kernel language that lowering rules build kernels with, or None where llvmlite is not installed."""
    from tinygraph import kernels as language

    if not language.available():
        return None
    importlib.import_module("tinygraph.kernels.images.lowerings")
    importlib.import_module("tinygraph.kernels.images.pooling")
    return language
