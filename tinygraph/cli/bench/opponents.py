"""What is compared: one workload as a training step, or as inference, in tinygraph and in each framework that is there.

All start from the same weights and return a number, so that they can be checked equal first. Nothing is measured here.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from tinygraph.cli.bench.candidates import Step, data, our_model, torch_model, training_step
from tinygraph.cli.bench.workloads import Workload

# glibc gives large blocks back and takes them again, page by page: PyTorch loses a third of its time that way
_KEEPING_PAGES = {"MALLOC_TRIM_THRESHOLD_": "4294967296", "MALLOC_MMAP_THRESHOLD_": "4294967296"}


class Opponent(NamedTuple):
    """One way of running a workload.

    Attributes:
        package: what must be installed for it.
        make: the workload, and whether it is to train, to a step.
        trains: whether it can train.
        environment: variables that its process needs besides.
    """

    package: str
    make: Callable[[Workload, bool], Step]
    trains: bool = True
    environment: dict[str, str] = {}  # noqa: RUF012 - the default of a tuple's field is shared, and never written


def _ours(compiles: bool) -> Callable[[Workload, bool], Step]:
    def make(workload: Workload, trains: bool) -> Step:
        import tinygraph as tg
        from tinygraph import nn, optim

        model = our_model(workload)
        x, y = data(workload)
        if trains:
            step = training_step(nn, optim, model, workload)
            step = tg.compile(step) if compiles else step
            return lambda: float(step(x, y).item())
        model.eval()
        run = tg.compile(model.__call__) if compiles else model

        def infer() -> float:
            with tg.no_grad():
                return float(abs(run(x).numpy()).mean())

        return infer

    return make


def _torch(channels_last: bool = False, compiles: bool = False) -> Callable[[Workload, bool], Step]:
    def make(workload: Workload, trains: bool) -> Step:
        import torch

        model = torch_model(workload)
        x, y = map(torch.as_tensor, data(workload))
        if channels_last:
            if x.ndim != 4:
                raise NotImplementedError("its input is no images")
            model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
        if not trains:
            model.eval()
        run: Any = torch.compile(model) if compiles else model
        if trains:
            optimizer = torch.optim.SGD(model.parameters(), lr=workload.learning_rate)
            loss_of = torch.nn.CrossEntropyLoss() if workload.classes else torch.nn.MSELoss()

            def step() -> float:
                optimizer.zero_grad()
                loss = loss_of(run(x), y)
                loss.backward()
                optimizer.step()
                return float(loss.item())

            return step

        def infer() -> float:
            with torch.inference_mode():
                return float(run(x).abs().mean())

        return infer

    return make


def _on_arrays(
    make_of: Callable[[Any, Any, bool, Any, Any], Step], **names: Any
) -> Callable[[Workload, bool], Step]:
    """A workload on a package without layers: parameters are a dict that its gradient function takes."""

    def make(workload: Workload, trains: bool) -> Step:
        from tinygraph.cli.bench import array_nn

        xp, convolve, pool = names["functions"]()
        array_nn.ArrayModule.training = trains
        model = workload.build(array_nn.layers(xp, convolve, pool))
        ours = our_model(workload).state_dict()
        places = dict(array_nn.places(model))
        for name, place in places.items():
            setattr(place.owner, place.name, ours[name])
        learnt = {name: ours[name] for name in places if "running" not in name}

        def run(parameters: Any, x: object) -> Any:
            for name, value in parameters.items():
                setattr(places[name].owner, places[name].name, value)
            return model(x)

        loss_of = array_nn.loss_of(xp, workload.classes)
        return make_of(run, learnt, trains, loss_of, workload)

    return make


def _jax_functions() -> Any:
    import jax.numpy as jnp
    from jax import lax

    def convolve(x: Any, kernel: Any, stride: int, padding: int) -> Any:
        return lax.conv_general_dilated(x, kernel, (stride, stride), [(padding, padding)] * 2)

    def pool(x: object, size: int) -> Any:
        window = (1, 1, size, size)
        return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")

    return jnp, convolve, pool


def _jax(run: Any, parameters: Any, trains: bool, loss_of: Any, workload: Workload) -> Step:
    import jax
    import jax.numpy as jnp

    x, y = map(jnp.asarray, data(workload))
    held = {name: jnp.asarray(value) for name, value in parameters.items()}
    if not trains:
        infer = jax.jit(lambda held, x: jnp.abs(run(held, x)).mean())
        return lambda: float(infer(held, x))

    def step(held: Any, x: Any, y: Any) -> Any:
        loss, slopes = jax.value_and_grad(lambda held: loss_of(run(held, x), y))(held)
        return loss, {name: value - workload.learning_rate * slopes[name] for name, value in held.items()}

    compiled = jax.jit(step)

    def one() -> float:
        nonlocal held
        loss, held = compiled(held, x, y)
        return float(loss)

    return one


def _autograd_functions() -> Any:
    import autograd.numpy as anp

    return anp, None, None


def _autograd(run: Any, parameters: Any, trains: bool, loss_of: Any, workload: Workload) -> Step:
    import numpy as np
    from autograd import value_and_grad

    x, y = data(workload)
    if not trains:
        return lambda: float(np.abs(run(parameters, x)).mean())
    slopes_of = value_and_grad(lambda held: loss_of(run(held, x), y))

    def one() -> float:
        loss, slopes = slopes_of(parameters)
        for name in parameters:
            parameters[name] = parameters[name] - np.float32(workload.learning_rate) * slopes[name]
        return float(loss)

    return one


def _onnxruntime(workload: Workload, trains: bool) -> Step:
    """What PyTorch exports of the model, with the weights that all have."""
    import numpy as np
    import onnxruntime
    import torch

    x, _ = data(workload)
    file = io.BytesIO()
    exported = torch.onnx.export(
        torch_model(workload).eval(), (torch.as_tensor(x),), dynamo=True, verbose=False
    )
    assert exported is not None
    file.write(exported.model_proto.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["TINYGRAPH_THREADS"])
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: float(np.abs(session.run(None, {name: x})[0]).mean())


OPPONENTS: dict[str, Opponent] = {
    "compiled": Opponent("tinygraph", _ours(True)),
    "eager": Opponent("tinygraph", _ours(False)),
    "torch eager": Opponent("torch", _torch(), environment=_KEEPING_PAGES),
    "torch channels_last": Opponent("torch", _torch(channels_last=True), environment=_KEEPING_PAGES),
    "torch compile": Opponent("torch", _torch(compiles=True), environment=_KEEPING_PAGES),
    "jax jit": Opponent("jax", _on_arrays(_jax, functions=_jax_functions)),
    "autograd": Opponent("autograd", _on_arrays(_autograd, functions=_autograd_functions)),
    "onnxruntime": Opponent("onnxruntime", _onnxruntime, trains=False),
}
