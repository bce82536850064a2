"""How a network is trained, as the command line and a TOML file give it. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

AtLeastOne = Annotated[int, Parameter(validator=Number(gte=1))]


@dataclass(frozen=True)
class Options:
    """Options of a training run."""

    epochs: AtLeastOne = 30
    """How often the network sees every training image."""
    batch_size: AtLeastOne = 32
    """Images per step."""
    learning_rate: Annotated[float, Parameter(validator=Number(gt=0))] = 0.005
    """Of Adam at the start; it falls to zero along half a cosine."""
    shift: Annotated[int, Parameter(validator=Number(gte=0))] = 1
    """How many pixels half of the training images are moved by, at most, each time they are seen."""
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0
    """Decides the sets, the first parameters and the order of training."""

    def as_flags(self) -> str:
        """The options that differ from the defaults, as one would type them."""
        given = (
            (field.name, getattr(self, field.name))
            for field in fields(self)
            if getattr(self, field.name) != field.default
        )
        return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in given)
