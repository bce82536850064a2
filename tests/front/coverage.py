"""The page docs/numpy.md: what each public function of NumPy and SciPy does on tensors, found by calling it.

`python docs/renew.py numpy` writes it; a test holds it.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

import tinygraph as tg
from tests.front.calls import ARRAYS_BY_NAME, WITHOUT_ARRAYS, call_of
from tests.front.checking import call_on_tensors, functions_of
from tests.front.scipy_calls import LINALG, special_call

PAGE = Path(__file__).parents[2] / "docs" / "numpy.md"
WRITTEN_WITH = "2.4."  # NumPy: others have other functions
MODULES: dict[str, Any] = {"": np, "linalg.": np.linalg, "fft.": np.fft}
KINDS = ("differentiable", "constant", "refused")
# Signs and roundings; integers' combinations; polynomials, nodes and zeros by their number.
SCIPY_CONSTANT = {
    "round", "gammasgn", "bernoulli", "euler", "stirling2", "factorial2", "factorialk", "legendre", "chebyt", "chebyu",
    "chebyc", "chebys", "jacobi", "laguerre", "genlaguerre", "hermite", "hermitenorm", "gegenbauer", "sh_legendre",
    "sh_chebyt", "sh_chebyu", "sh_jacobi",
}  # fmt: skip

HEAD = """# NumPy and SciPy on tensors

`np.sum(np.sin(x) ** 2)` works where `x` is a tensor, and so does nearly all of NumPy. This page is written by
calling every public function (`python docs/renew.py numpy`), and the tests check each that is differentiable:
values against NumPy's, derivatives to second order in both modes against differences.

- **differentiable**: the result is a tensor that carries gradients.
- **constant**: places, counts, truths and texts, and whatever takes no array: there is nothing to differentiate.
- **refused**: a `NumpyFunctionError` names the function and says what to write instead. Nothing detaches silently.

## Conventions

- **Complex numbers.** The gradient of a real loss by z = a + bi is ∂/∂a - i ∂/∂b, as in autograd and JAX: of a
  holomorphic f the rule is g f'(z), without a conjugate. Descent goes along its conjugate,
  as the optimizers do. `tg.grad(f, holomorphic=True)` is the complex derivative of a holomorphic f; without it a
  complex result is refused.
- **Symmetric matrices.** `cholesky`, `eigh` and `eigvalsh` read one triangle; their gradient is the symmetric one,
  the derivative along symmetric directions, as in JAX and PyTorch.
- **Vectors that are not determined.** Complex eigenvectors and singular vectors have an arbitrary phase: gradients
  are those of results that do not depend on it. Where eigenvalues or singular values repeat, gradients
  through their vectors are NaN, those of the values alone right. `eig` fixes length and phase as LAPACK does.
- **Ties.** `max` and `min` share a gradient among equal elements; `sort`, `median`, `unique` and other choices give
  it to the elements that they chose. `interp` at a point takes the slope of the line behind it.
- **Branches that are not taken.** `np.where(x > 0, x, np.exp(x))` has the slope 1 at 1000, in both modes and every
  order, where autograd, JAX and PyTorch have NaN: what `np.where` does not choose counts for nothing, back to where a
  value has another use or shape. Beyond that 0 times an infinite slope is NaN: choose the operand too,
  `np.exp(np.where(x > 0, 0, x))`; `tg.why` names the op.
- **SciPy** has no protocol as NumPy has. Its ufuncs take tensors (`scipy.special.erf(t)`); everything else is
  reached by modules of SciPy's names under `tg.scipy` (`tg.scipy.special.logsumexp`, `tg.scipy.stats.norm.logpdf`),
  with the extra `scipy`.
- **Orders and shapes.** By orders of Bessel functions, shapes of distributions and parameters of hypergeometric
  functions no closed form is known: the derivative is that of the polynomial through 17 values around the operand,
  right to about 13 digits, the second to 11. Integer orders, of which functions are defined alone, are refused.
- **Programs.** Captured, compiled and under `tg.vmap` all of this runs but what has a shape or class by its values:
  `nonzero`, `unique` and set functions, `roots`, `polydiv`, `trim_zeros`, `eig` of real matrices.
- **Writing.** `out=` takes a tensor, which then stands for the result; an array has no place for a gradient and is
  refused. `where=` without `out=` leaves NumPy's memory as it was found, and is refused; of reductions it is
  honoured.

"""


def kind_of(name: str, function: Any, args: Any, options: Any) -> str:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return call_on_tensors(function, args, options)[0].kind


def rows_of(prefix: str) -> list[tuple[str, str, str]]:
    """Name, kind, and a remark, of each function of a module of NumPy."""
    rows = []
    for name, function in functions_of(MODULES[prefix]).items():
        if name in ARRAYS_BY_NAME:
            rows.append((name, "refused", "makes an array, which holds no gradient; np.stack joins tensors"))
        elif name in WITHOUT_ARRAYS:
            rows.append((name, "constant", ""))
        else:
            rows.append((name, kind_of(name, *call_of(prefix + name, function)), ""))
    return rows


def special_rows() -> list[tuple[str, str, str]]:
    from scipy import special

    from tinygraph_ops.special.ops import table, unknown

    rows = []
    alias = {getattr(special, name): name for name in table() if hasattr(special, name)}
    for shown, function in functions_of(special).items():
        name = alias.get(function, shown)
        own = name in table()
        constant = (
            name in SCIPY_CONSTANT
            or name.startswith("roots_")
            or name.endswith(("_zeros", "_roots", "err", "_seq"))
        )
        if constant or name == "test":
            rows.append((shown, "constant", ""))
            continue
        ours = getattr(tg.scipy.special, name)
        if own or (ours is not function and getattr(ours, "__module__", "") == "tinygraph.scipy.special"):
            missing = unknown(name, function.nin) if own and isinstance(function, np.ufunc) else ()
            args = special_call(name, function, missing)
            remark = f"not by operand {', '.join(str(i + 1) for i in missing)}" if missing else ""
            rows.append((shown, kind_of(name, ours, args, {}), remark))
        else:
            rows.append((shown, "refused", ""))
    return rows


def linalg_rows() -> list[tuple[str, str, str]]:
    import scipy.linalg

    rows = []
    for name in functions_of(scipy.linalg):
        if name in LINALG:
            args, options = LINALG[name]
            rows.append((name, kind_of(name, getattr(tg.scipy.linalg, name), args, options), ""))
        elif name in NO_ARRAYS_OF_LINALG:
            rows.append((name, "constant", ""))
        else:
            rows.append((name, "refused", ""))
    return rows


NO_ARRAYS_OF_LINALG = {
    "bandwidth", "clarkson_woodruff_transform", "dft", "find_best_blas_type", "get_blas_funcs", "get_lapack_funcs",
    "hadamard", "helmert", "hilbert", "invhilbert", "invpascal", "ishermitian", "issymmetric", "pascal", "test",
}  # fmt: skip


def text() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, rows in (
        ("numpy", rows_of("")),
        ("numpy.linalg", rows_of("linalg.")),
        ("numpy.fft", rows_of("fft.")),
        ("scipy.special", special_rows()),
        ("scipy.linalg (as tg.scipy.linalg)", linalg_rows()),
    ):
        counts = {kind: [row for row in rows if row[1] == kind] for kind in KINDS}
        parts.append(f"## {title}\n\n")
        for kind in KINDS:
            if counts[kind]:
                names = ", ".join(
                    f"`{name}`" + (f" ({remark})" if remark else "") for name, _, remark in counts[kind]
                )
                parts.append(f"**{kind.capitalize()}** ({len(counts[kind])}): {names}.\n\n")
    return "".join(parts).rstrip() + "\n"


def main() -> None:
    PAGE.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
