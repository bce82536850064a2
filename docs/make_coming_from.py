"""Write the pages for those who come from autograd, MyGrad and JAX, from one table: their name, ours, what differs.

Run `python docs/renew.py coming`; a test holds the pages and looks up every name of ours.
"""

from pathlib import Path

DOCS = Path(__file__).parent

# What it is for; the name in autograd, MyGrad and JAX; ours; what differs.
ROWS = (
    ("NumPy's functions", "import autograd.numpy as np", "import mygrad as mg", "import jax.numpy as jnp",
     "import numpy as np", "NumPy itself; no wrapper module"),
    ("SciPy's functions", "autograd.scipy.special", "", "jax.scipy.special", "tg.scipy.special",
     "ufuncs of scipy.special take tensors as they are"),
    ("densities", "autograd.scipy.stats", "", "jax.scipy.stats", "tg.scipy.stats", ""),
    ("a tensor", "(a box, hidden)", "mg.tensor(x)", "jnp.asarray(x)", "tg.tensor",
     "needed for `.backward()` alone; transforms take arrays and give arrays"),
    ("gradient", "grad(f, argnum=0)", "f(x).backward(); x.grad", "jax.grad(f, argnums=0)", "tg.grad",
     "`argnums=` or `argnum=`, a position, a name, or several"),
    ("value and gradient", "value_and_grad(f)", "", "jax.value_and_grad(f)", "tg.value_and_grad", ""),
    ("complex derivative", "holomorphic_grad(f)", "", "jax.grad(f, holomorphic=True)", "tg.grad",
     "`holomorphic=True`"),
    ("derivative of each element", "elementwise_grad(f)", "", "jax.vmap(jax.grad(f))", "tg.elementwise_grad", ""),
    ("Jacobian", "jacobian(f)", "", "jax.jacobian(f)", "tg.jacobian", "the mode follows the shapes"),
    ("Jacobian in a mode", "", "", "jax.jacfwd, jax.jacrev", "tg.jacfwd", "and tg.jacrev"),
    ("Hessian", "hessian(f)", "", "jax.hessian(f)", "tg.hessian", ""),
    ("Hessian times vector", "hessian_vector_product(f)", "", "jvp of grad", "tg.hvp", ""),
    ("vector times Jacobian", "make_vjp(f)(x)", "", "jax.vjp(f, x)", "tg.vjp",
     "returns (value, pull), the pull a tuple"),
    ("Jacobian times vector", "make_jvp(f)(x)(v)", "", "jax.jvp(f, (x,), (v,))", "tg.jvp", ""),
    ("many examples at once", "", "", "jax.vmap(f)", "tg.vmap", ""),
    ("checkpoints", "checkpoint(f)", "", "jax.checkpoint(f)", "tg.checkpoint", ""),
    ("compiling", "", "", "jax.jit(f)", "tg.compile", "arrays may be written; Python that changes is noticed"),
    ("check of gradients", "check_grads(f)(x)", "", "jax.test_util.check_grads", "tg.testing.check_grads", ""),
    ("no recording", "", "mg.no_autodiff", "jax.lax.stop_gradient(x)", "tg.no_grad", "and tensor.detach()"),
    ("containers", "autograd.misc.flatten", "", "jax.tree_util", "tg.tree", ""),
    ("an operation of one's own", "@primitive, defvjp", "mg.operation_base.Operation", "@jax.custom_vjp",
     "tg.plugin.op", "one rule makes gradients of every order, forward mode and drawings"),
    ("writing elements", "(not possible)", "x[i] = v", "x.at[i].set(v)", "tg.ops.set_at",
     "and `x[i] = v` on tensors that were computed"),
    ("random numbers", "np.random", "np.random", "jax.random with keys", "tg.manual_seed",
     "NumPy's generators in eager code; compiled code draws its own"),
    ("control flow", "Python", "Python", "jax.lax.scan, cond", "tg.compile", "Python's loops in eager code"),
    ("optimizers", "autograd.misc.optimizers.adam", "mygrad.nnet", "optax", "tg.optim", "PyTorch's names"),
)  # fmt: skip

PAGES = {
    "autograd": (1, """Programs written for autograd run with `import numpy as np` in the place
of `import autograd.numpy as np`, and `import tinygraph as tg` for the transforms. SciPy's modules are under `tg.scipy`,
with the names that `autograd.scipy` has."""),
    "mygrad": (2, """MyGrad's tensors are recorded as they are computed with, and so are ours:
`tg.tensor(x, requires_grad=True)`, NumPy's own functions, `.backward()` and `.grad`. MyGrad locks the memory of arrays
that it has read; here a write that would spoil a backward pass is found and raises there."""),
    "jax": (3, """The transforms have JAX's names and arguments, and nest in every order. Arrays are NumPy's: 64 bits by
default, and may be written. Complex gradients follow JAX's convention."""),
}  # fmt: skip
TITLES = {"autograd": "autograd", "mygrad": "MyGrad", "jax": "JAX"}


def page(name: str) -> str:
    """One page."""
    column, intro = PAGES[name]
    rows = [
        f"| {row[0]} | {_code(row[column])} | {_code(row[4])} | {row[5]} |" for row in ROWS if row[column]
    ]
    head = f"| for | {TITLES[name]} | tinygraph | what differs |\n|---|---|---|---|\n"
    rest = "\nWhich functions of NumPy and SciPy are differentiated says [numpy.md](numpy.md).\n"
    return f"# Coming from {TITLES[name]}\n\n{intro}\n\n{head}" + "\n".join(rows) + "\n" + rest


def _code(text: str) -> str:
    return text if text.startswith("(") or text in ("Python", "optax", "jvp of grad") else f"`{text}`"


def main() -> None:
    for name in PAGES:
        (DOCS / f"coming_from_{name}.md").write_text(page(name), encoding="utf-8")


if __name__ == "__main__":
    main()
