"""PyTorch's methods of tensors that are not NumPy's: what to write here. For errors, and for the page of names."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A method of PyTorch's tensors, as an expression of a tensor t, ours for the same, and what differs."""

    theirs: str
    ours: str
    differs: str = ""


# By name. `t` is a tensor (2, 3), `m` a mask of its shape, `i` integers; a test evaluates both sides where it can.
METHODS: dict[str, Row] = {
    # shapes
    "view": Row("t.view(3, 2)", "t.reshape(3, 2)"),
    "unsqueeze": Row("t.unsqueeze(1)", "np.expand_dims(t, 1)"),
    "permute": Row("t.permute(1, 0)", "t.transpose(1, 0)", "NumPy's transpose takes all axes"),
    "t": Row("t.t()", "t.T"),
    "numel": Row("t.numel()", "t.size"),
    "dim": Row("t.dim()", "t.ndim"),
    "clone": Row("t.clone()", "t.copy()"),
    "contiguous": Row("t.contiguous()", "t.copy()", "needed nowhere: every op takes any layout"),
    "expand": Row("t[:1].expand(4, 3)", "np.broadcast_to(t[:1], (4, 3))"),
    "repeat_interleave": Row("t.repeat_interleave(2, 1)", "np.repeat(t, 2, 1)"),
    "unbind": Row("t.unbind()[1]", "list(t)[1]"),
    "chunk": Row("t.chunk(3, 1)[0]", "np.split(t, 3, 1)[0]"),
    "narrow": Row("t.narrow(1, 1, 2)", "t[:, 1:3]"),
    "select": Row("t.select(1, 0)", "t[:, 0]"),
    # choosing
    "masked_fill": Row("t.masked_fill(m, 7.0)", "np.where(m, 7.0, t)"),
    "masked_select": Row("t.masked_select(m)", "t[m]"),
    "gather": Row("t.gather(1, i)", "np.take_along_axis(t, i, 1)"),
    "index_select": Row("t.index_select(1, i[0])", "np.take(t, i[0], 1)"),
    "clamp": Row("t.clamp(0.5, 1.5)", "np.clip(t, 0.5, 1.5)"),
    "topk": Row("t.topk(2).values", "np.sort(t)[..., ::-1][..., :2]", "indices: np.argsort"),
    # reductions
    "amax": Row("t.amax(1)", "t.max(1)", "`max` is NumPy's: values alone; positions are `argmax`"),
    "amin": Row("t.amin(1)", "t.min(1)"),
    "norm": Row("t.norm()", "np.linalg.norm(t)"),
    "logsumexp": Row("t.logsumexp(1)", "tg.ops.logsumexp(t, axis=1)"),
    # numbers
    "exp": Row("t.exp()", "np.exp(t)"),
    "log": Row("t.log()", "np.log(t)"),
    "sqrt": Row("t.sqrt()", "np.sqrt(t)"),
    "rsqrt": Row("t.rsqrt()", "1 / np.sqrt(t)"),
    "sin": Row("t.sin()", "np.sin(t)"),
    "cos": Row("t.cos()", "np.cos(t)"),
    "tanh": Row("t.tanh()", "np.tanh(t)"),
    "abs": Row("t.abs()", "abs(t)"),
    "pow": Row("t.pow(2)", "t ** 2"),
    "add": Row("t.add(1)", "t + 1"),
    "sub": Row("t.sub(1)", "t - 1"),
    "mul": Row("t.mul(2)", "t * 2"),
    "div": Row("t.div(2)", "t / 2"),
    "neg": Row("t.neg()", "-t"),
    "mm": Row("t.mm(t.T)", "t @ t.T"),
    "matmul": Row("t.matmul(t.T)", "t @ t.T"),
    "sigmoid": Row("t.sigmoid()", "tg.ops.sigmoid(t)"),
    "relu": Row("t.relu()", "tg.ops.relu(t)"),
    "softmax": Row("t.softmax(1)", "tg.ops.softmax(t, axis=1)"),
    "log_softmax": Row("t.log_softmax(1)", "tg.ops.log_softmax(t, axis=1)"),
    "triu": Row("t.triu()", "np.triu(t)"),
    "tril": Row("t.tril()", "np.tril(t)"),
    # dtypes and places
    "float": Row("t.float()", "t.astype(np.float32)"),
    "double": Row("t.double()", "t.astype(np.float64)"),
    "long": Row("t.long()", "t.astype(np.int64)"),
    "int": Row("t.int()", "t.astype(np.int32)"),
    "bool": Row("t.bool()", "t.astype(bool)"),
    "half": Row("t.half()", "t.astype(np.float16)"),
    "to": Row("t.to(torch.float32)", "t.astype(np.float32)", "there are no devices"),
    "cpu": Row("t.cpu()", "t", "there are no devices"),
    "cuda": Row("t.cuda()", "t", "there are no devices"),
    "is_floating_point": Row("t.is_floating_point()", 't.dtype.kind == "f"'),
    "new_zeros": Row("t.new_zeros(4)", "np.zeros(4, t.dtype)"),
    # the graph
    "grad_fn": Row("t.grad_fn", "t.node", "a node of the graph, with op, inputs and source line"),
    "data": Row("t.data", "t.detach()", "write with `t[...] = x` under tg.no_grad()"),
    "requires_grad_": Row("t.requires_grad_()", "t.requires_grad = True"),
    "retain_grad": Row("t.retain_grad()", "tg.vjp", "or make it an argument of tg.grad"),
    # writing
    "add_": Row("t.add_(1)", "t += 1", "parameters under tg.no_grad(): `p[...] += 1`"),
    "mul_": Row("t.mul_(2)", "t *= 2"),
    "copy_": Row("t.copy_(x)", "t[...] = x"),
    "fill_": Row("t.fill_(1)", "t[...] = 1"),
    "zero_": Row("t.zero_()", "t[...] = 0"),
}  # fmt: skip


def advice(name: str) -> str:
    """What to write for a method of PyTorch's, as the end of an error's text; nothing for other names."""
    row = METHODS.get(name)
    if row is None:
        return ""
    return f": for PyTorch's {row.theirs} write {row.ours}{f' ({row.differs})' if row.differs else ''}"
