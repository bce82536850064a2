"""Checkpoints: everything that a training goes on from, in one file, so that two epochs and two more are four.

That is the model, the optimizer and the schedules that write its rates, the place in the walk through the data, and the
generators that shuffling, dropout and augmentation draw from. A file is loaded whole or not at all. Of several
processes rank 0 writes it, and it holds what each draws from.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.core.process_group import processes
from tinygraph.core.state import Generator, default_generator
from tinygraph.data import DataLoader
from tinygraph.data.generators import held_generators, is_generator
from tinygraph.errors import FileFormatError, SettingError, StateDictError, TinygraphWarning
from tinygraph.interop import load_state, save_state
from tinygraph.interop.reading import refusing
from tinygraph.nn import Module
from tinygraph.optim import Optimizer
from tinygraph.packages.version import version
from tinygraph.training.measuring import batches


def save_checkpoint(
    path: str | Path,
    model: Module,
    optimizer: Optimizer | None = None,
    *,
    epoch: int = 0,
    data: object = None,
    generators: Mapping[str, Any] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write the state of a training to one file, replaced as a whole. All processes call it together.

    Args:
        path: the file (.npz, or safetensors).
        model: its parameters and buffers, and generators that its modules hold.
        optimizer: its slots and settings, and the schedules that were made for it.
        epoch: a number that `load_checkpoint` returns.
        data: as for `fit`: the place in the walk through a DataLoader, and generators held by it, its dataset, or what
            those hold.
        generators: further ones, tinygraph's or NumPy's, by name: those that are global variables, for example.
        notes: more that `read_notes` returns: what JSON can hold, and arrays by names.

    Raises:
        SettingError: something among `generators` that is none.
    """
    state: dict[str, Any] = {f"model/{name}": value for name, value in model.state_dict().items()}
    state["epoch"] = np.array(epoch)
    found = _generators(model, data, generators)
    stands = json.dumps({name: _stand(one) for name, one in found.items()}, default=_plain)
    everybody = [json.loads(text) for text in processes().gather_texts(stands)]
    run: dict[str, Any] = {"version": version(), "generators": everybody[0], "other_processes": everybody[1:]}
    loader = _loader(data)
    if loader is not None:
        run["data"] = loader.state_dict()
    if optimizer is not None:
        slots = optimizer.state_dict()
        for number, one in slots["state"].items():
            state |= {f"optimizer/{number}/{name}": value for name, value in one.items()}
        state["groups"] = _packed(slots["param_groups"])
        run["optimizer"] = type(optimizer).__name__
        run["schedules"] = [
            {"kind": type(one).__name__, "state": one.state_dict()} for one in _schedules(optimizer)
        ]
    arrays = {name: value for name, value in (notes or {}).items() if isinstance(value, np.ndarray)}
    state |= {f"notes/{name}": value for name, value in arrays.items()}
    run["notes"] = {name: value for name, value in (notes or {}).items() if name not in arrays}
    state["run"] = _packed(run)
    state["hash"] = _hash(state)
    if processes().rank == 0:
        save_state(state, path)
    processes().barrier()


def load_checkpoint(
    path: str | Path,
    model: Module,
    optimizer: Optimizer | None = None,
    *,
    data: object = None,
    generators: Mapping[str, Any] | None = None,
) -> int:
    """Go on from a file of `save_checkpoint`, with the same arguments: everything is changed, or nothing.

    Make the model, the optimizer and the schedules first, as for the first training. With the model alone its
    parameters and buffers are read, and nothing else is.

    Returns:
        the epoch it was written after.

    Raises:
        FileFormatError: the file is damaged, or no checkpoint, or has no optimizer.
        StateDictError: it belongs to another model, optimizer, schedule or data, or tells of data or generators that
            are not given.
    """
    state = load_state(path)
    if "epoch" not in state or (optimizer is not None and "groups" not in state):
        raise FileFormatError(f"{path} is no checkpoint{' with an optimizer' if 'epoch' in state else ''}")
    found, loader = _generators(model, data, generators), _loader(data)
    with (
        refusing(f"{path} is no checkpoint, or a damaged one"),
        _noting_the_version(state),
        _all_or_nothing(model, optimizer, loader, found),
    ):
        epoch = int(state["epoch"])
        model.load_state_dict(_below(state, "model/"))
        if optimizer is None:
            _check_hash(state)
            return epoch
        run = _unpacked(state["run"]) if "run" in state else {}
        if run.get("optimizer", type(optimizer).__name__) != type(optimizer).__name__:
            raise StateDictError(
                f"{path} goes on with {run['optimizer']}, and the optimizer given is {type(optimizer).__name__}"
            )
        slots: dict[int, dict[str, Any]] = {}
        for name, value in _below(state, "optimizer/").items():
            number, _, slot = name.partition("/")
            if not number.isdigit():
                raise FileFormatError(f"{path} has an entry {f'optimizer/{name}'!r}, which no checkpoint has")
            slots.setdefault(int(number), {})[slot] = value
        optimizer.load_state_dict({"state": slots, "param_groups": _unpacked(state["groups"])})
        _load_schedules(path, run.get("schedules", []), optimizer)
        _load_data(path, run.get("data"), loader)
        _load_generators(path, _own_generators(path, run), found)
        _check_hash(state)
        return epoch


def read_notes(path: str | Path) -> dict[str, Any]:
    """The notes of a checkpoint, see `save_checkpoint`.

    Raises:
        FileFormatError: the file is damaged, or no checkpoint.
    """
    state = load_state(path)
    with refusing(f"{path} is no checkpoint, or a damaged one"):
        found = _unpacked(state["run"]).get("notes", {}) | _below(state, "notes/")
        _check_hash(state)
        return dict(found)


@contextmanager
def _noting_the_version(state: Mapping[str, Any]) -> Iterator[None]:
    """Add to an error that another version wrote the file."""
    try:
        yield
    except StateDictError as error:
        try:
            written = _unpacked(state["run"])["version"]
        except (KeyError, ValueError, TypeError):  # a file of before versions were noted, or a damaged one
            written = "before 0.1"
        if written != version():
            error.add_note(f"the file was written by tinygraph {written}, and this is {version()}")
        raise


def _hash(state: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """A digest of all that a checkpoint holds."""
    digest = hashlib.blake2b(digest_size=32)
    for name in sorted(set(state) - {"hash"}):
        value = np.ascontiguousarray(state[name])
        digest.update(f"{name} {value.dtype.str} {value.shape};".encode())
        digest.update(value.data if value.size else b"")
    return np.frombuffer(digest.digest(), np.uint8)


def _check_hash(state: Mapping[str, Any]) -> None:
    if "hash" in state and not np.array_equal(state["hash"], _hash(state)):
        raise FileFormatError(
            "its hash does not fit what it holds: it was damaged or changed after it was written"
        )


def _own_generators(path: str | Path, run: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where this process's generators stood; of a process that was not there, none."""
    everybody = [run.get("generators", {}), *run.get("other_processes", [])]
    among = processes()
    if len(everybody) != among.size:
        warnings.warn(
            f"{path} was written by {len(everybody)} processes, and {among.size} go on: the same batches in the same "
            f"order, but dropout and augmentation draw other numbers than an undisturbed run would",
            TinygraphWarning,
            stacklevel=4,
        )
    return everybody[among.rank] if among.rank < len(everybody) else {}


def _load_schedules(path: str | Path, saved: list[dict[str, Any]], optimizer: Optimizer) -> None:
    schedules = _schedules(optimizer)
    kinds, given = [one["kind"] for one in saved], [type(one).__name__ for one in schedules]
    if kinds != given:
        raise StateDictError(
            f"{path} was written with the schedules {', '.join(kinds) or 'none'}, and this optimizer has "
            f"{', '.join(given) or 'none'}: make them for the optimizer, in the same order, before loading"
        )
    rates = [group["lr"] for group in optimizer.param_groups]
    for schedule, one in zip(schedules, saved, strict=True):
        schedule.load_state_dict(one["state"])
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate  # the optimizer's own state tells the rate, whichever schedule wrote it last


def _load_data(path: str | Path, place: Any, loader: DataLoader | None) -> None:
    if loader is not None and place is not None:
        loader.load_state_dict(place)
    elif place is not None and place.get("batch"):
        raise StateDictError(f"{path} was written within an epoch: pass the DataLoader too, data=loader")


def _load_generators(path: str | Path, saved: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    missing = sorted(set(saved) - set(found))
    if missing:
        raise StateDictError(
            f"{path} holds the state of generator {missing[0]!r}, which is not given: pass data= and generators= as "
            f"when it was written"
        )
    for name, stand in saved.items():
        _restore(found[name], stand)


@contextmanager
def _all_or_nothing(
    model: Module, optimizer: Optimizer | None, loader: DataLoader | None, generators: Mapping[str, Any]
) -> Iterator[None]:
    """Put everything back if the block raises."""
    values = model.state_dict()
    stands = [(one, _stand(one)) for one in generators.values()]
    place = (loader._at, loader._resumed) if loader is not None else None
    if optimizer is not None:
        state, settings = optimizer.state, [dict(group) for group in optimizer.param_groups]
        schedules = [(one, dict(vars(one))) for one in _schedules(optimizer)]
    try:
        yield
    except BaseException:
        model.load_state_dict(values)
        for one, stand in stands:
            _restore(one, stand)
        if loader is not None and place is not None:
            loader._at, loader._resumed = place
        if optimizer is not None:
            optimizer.state = state
            for group, before in zip(optimizer.param_groups, settings, strict=True):
                group.update(before)
            for one, attributes in schedules:
                vars(one).update(attributes)
        raise


def _schedules(optimizer: Optimizer) -> list[Any]:
    """The schedules that write an optimizer's rates, in the order in which they were made."""
    living = (reference() for reference in optimizer.schedules)
    return [one for one in living if one is not None and one.optimizer is optimizer]


def _loader(data: object) -> DataLoader | None:
    walk = None if data is None else batches(data, 1)
    return walk if isinstance(walk, DataLoader) else None


def _generators(model: Module, data: object, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Every generator of a run by the path to it, each once."""
    found: dict[str, Any] = {"default": default_generator}
    for name, one in (given or {}).items():
        if not is_generator(one):
            raise SettingError(
                f"generators[{name!r}] is a {type(one).__name__}, no tinygraph or NumPy generator"
            )
        found[f"given/{name}"] = one
    for path, module in model.named_modules():
        own = {name: one for name, one in vars(module).items() if is_generator(one)}
        found |= {f"model/{path}.{name}": one for name, one in own.items()}
    walk = None if data is None else batches(data, 1)
    found |= {f"data/{path}": one for path, one in held_generators(walk)}
    seen: dict[int, str] = {}
    for name, one in found.items():
        seen.setdefault(id(one), name)
    return {name: one for name, one in found.items() if seen[id(one)] == name}


def _stand(generator: Any) -> Any:
    """Where a generator stands."""
    if isinstance(generator, Generator):
        return generator.state
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.bit_generator.state


def _restore(generator: Any, stand: Any) -> None:
    try:
        if isinstance(generator, Generator):
            generator.state = stand
        elif isinstance(generator, np.random.RandomState):
            generator.set_state(stand)
        else:
            generator.bit_generator.state = stand
    except (ValueError, TypeError, KeyError) as error:
        raise StateDictError(f"a generator's state does not fit one of the kind given: {error}") from None


def _packed(value: object) -> np.ndarray[Any, Any]:
    text = json.dumps(value, default=_plain)
    return np.frombuffer(text.encode(), np.uint8)


def _plain(value: Any) -> Any:
    """Arrays in states of generators, and NumPy's numbers, as JSON has them."""
    return value.tolist()


def _unpacked(value: np.ndarray[Any, Any]) -> Any:
    return json.loads(value.tobytes())


def _below(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
