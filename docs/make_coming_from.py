"""Write the pages for those who come from autograd, MyGrad, JAX and PyTorch, from tables of names.

Run `python docs/renew.py coming`; a test holds the pages and looks up every name of ours.
"""

from pathlib import Path

from tinygraph.core.pytorch_names import METHODS

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
    ("check of gradients", "check_grads(f, modes=['rev'])(x)", "", "jax.test_util.check_grads", "tg.testing.check_grads", ""),
    ("no recording", "", "mg.no_autodiff", "", "tg.no_grad", ""),
    ("a constant", "", "", "jax.lax.stop_gradient(x)", "tg.stop_gradient", "or tensor.detach()"),
    ("many directions", "", "", "jax.linearize(f, x)", "tg.linearize", "the function runs once"),
    ("rules of one's own", "", "", "@jax.custom_vjp, @jax.custom_jvp", "tg.custom_vjp",
     "and tg.custom_jvp; fwd may call the function"),
    ("arrays of tensors", "np.array([x[0], x[1]])", "", "jnp.array([x[0], x[1]])", "import numpy as np",
     "write np.stack([...]), of nested lists np.block; np.array and np.full make arrays, and say so"),
    ("containers", "autograd.misc.flatten", "", "jax.tree_util", "tg.tree", ""),
    ("an operation of one's own", "@primitive, defvjp", "mg.operation_base.Operation", "jax.extend.core.Primitive",
     "tg.plugin.op", "one rule makes gradients of every order, forward mode and drawings"),
    ("writing elements", "(not possible)", "x[i] = v", "x.at[i].set(v)", "tg.ops.set_at",
     "and `x[i] = v` on tensors that were computed"),
    ("random numbers", "np.random", "np.random", "jax.random with keys", "tg.manual_seed",
     "NumPy's generators in eager code; compiled code draws its own"),
    ("control flow", "Python", "Python", "jax.lax.scan, cond", "tg.scan", "and tg.while_loop, tg.cond; Python's own loops and branches in eager code"),
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
# The same for PyTorch: what it is for, its name, ours, what differs. Its methods of tensors are `METHODS`.
PYTORCH = (
    ("a tensor", "torch.tensor(x, requires_grad=True)", "tg.tensor", "over a NumPy array; NumPy's functions and methods"),
    ("functions", "torch.sin(x)", "np.sin", "NumPy's names; `dim=` is `axis=`, `keepdim=` is `keepdims=`"),
    ("backward pass", "loss.backward()", "tg.Tensor.backward", "the same, `create_graph=True` included"),
    ("gradients of a function", "torch.func.grad(f)", "tg.grad", "and vjp, jvp, jacobian, hessian, vmap under their names"),
    ("no recording", "torch.no_grad()", "tg.no_grad", ""),
    ("a rule of one's own", "torch.autograd.Function", "tg.custom_vjp", "or an op, which also draws, compiles and is saved: `tg.plugin.op`"),
    ("modules", "torch.nn.Module", "tg.nn.Module", "parameters are attributes; no `super().__init__()` is needed"),
    ("layers and losses", "torch.nn.Conv2d(3, 8, 3)", "tg.nn.Conv2d", "the same names, arguments, initial values and `state_dict`"),
    ("functions of layers", "torch.nn.functional", "tg.nn.functional", "the same names; `dim=` stays there"),
    ("clipping", "torch.nn.utils.clip_grad_norm_", "tg.nn.utils.clip_grad_norm_", ""),
    ("optimizers", "torch.optim.AdamW", "tg.optim.AdamW", "the same numbers; `state_dict` both ways"),
    ("schedules", "torch.optim.lr_scheduler", "tg.optim.lr_scheduler", "the same numbers"),
    ("data", "torch.utils.data.DataLoader", "tg.data.DataLoader", ""),
    ("compiling", "torch.compile(f)", "tg.compile", "whole training steps, backward pass and update included"),
    ("a graph", "torch.export.export(model, args)", "tg.capture", "typed, drawn, differentiated, saved"),
    ("anomalies", "torch.autograd.detect_anomaly()", "tg.detect_anomaly", "values of the forward pass as well; `tg.why` for zeros"),
    ("seeds", "torch.manual_seed(0)", "tg.manual_seed", "other draws than PyTorch's"),
)  # fmt: skip

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


def pytorch_page() -> str:
    """The page for those who come from PyTorch."""
    rows = [f"| {what} | `{theirs}` | `{ours}` | {differs} |" for what, theirs, ours, differs in PYTORCH]
    methods = [f"| `{row.theirs}` | `{row.ours}` | {row.differs} |" for row in METHODS.values()]
    return f"""# Coming from PyTorch

Modules, losses, optimizers and schedules have PyTorch's names, arguments and numbers, and a `state_dict` of arrays loads
unchanged. Tensors are NumPy's: its functions, its methods, its dtypes (64 bits unless said otherwise; parameters are float32).

| for | PyTorch | tinygraph | what differs |
|---|---|---|---|
{chr(10).join(rows)}

What means something else here, as in NumPy: `t.transpose` takes all axes (two of them: `np.swapaxes`), `t.max(axis)` gives values
alone, `t.std()` divides by n (`ddof=1` for n - 1), `np.repeat` repeats elements (whole arrays: `np.tile`), `t.sort()` sorts in place.

Methods of PyTorch's tensors that NumPy has not; asking for one says the same:

| PyTorch | tinygraph | |
|---|---|---|
{chr(10).join(methods)}
"""


def _code(text: str) -> str:
    return text if text.startswith("(") or text in ("Python", "optax", "jvp of grad") else f"`{text}`"


def main() -> None:
    for name in PAGES:
        (DOCS / f"coming_from_{name}.md").write_text(page(name), encoding="utf-8")
    (DOCS / "coming_from_pytorch.md").write_text(pytorch_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
