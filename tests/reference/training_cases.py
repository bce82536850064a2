"""The cases above single ops: modules, training traces, optimizers, schedules. NumPy and stdlib only.

The ops' cases are in `cases`; the networks of the training traces are in `models_torch_style.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .seeded import Array, Stream, digest, frozen

Settings = dict[str, Any]


# Modules


@dataclass(frozen=True)
class ModuleCase:
    """One module: `build(nn)` makes it, `call(module, input)` runs it; `nn` is torch.nn or its like."""

    name: str
    build: Callable[[Any], Any]
    input: Array | None
    call: Callable[[Any, Any], Any] = lambda module, x: module(x)

    def __str__(self) -> str:
        return self.name

    @property
    def digest(self) -> str:
        return digest(self.name, self.input)

    def state(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
        """Seeded values for `load_state_dict`, given the shape of each entry; variances are positive."""
        return {key: self._entry(key, shape) for key, shape in shapes.items()}

    def _entry(self, key: str, shape: tuple[int, ...]) -> Array:
        if key.endswith("num_batches_tracked"):
            return frozen(np.zeros(shape, np.int64))
        low = 0.5 if key.endswith("running_var") else -1.0
        return Stream(f"{self.name}/{key}").uniform(shape, low, 1.0)

    def cotangent(self, shape: tuple[int, ...]) -> Array:
        return Stream(f"{self.name}/cotangent").uniform(shape)


def module_cases() -> list[ModuleCase]:
    signal, image, volume = (2, 4, 9), (2, 4, 6, 5), (1, 2, 4, 3, 4)
    builders: list[tuple[str, Callable[[Any], Any], tuple[int, ...] | None]] = [
        ("Linear", lambda nn: nn.Linear(64, 32), (3, 64)),
        ("Linear without bias", lambda nn: nn.Linear(5, 3, bias=False), (2, 4, 5)),
        ("Conv1d", lambda nn: nn.Conv1d(4, 6, 3), signal),
        ("Conv1d dilated", lambda nn: nn.Conv1d(4, 6, 3, 2, 1, 2), signal),
        ("Conv2d", lambda nn: nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), image),
        ("Conv2d same", lambda nn: nn.Conv2d(4, 3, (3, 2), padding="same", bias=False), image),
        ("Conv2d reflect", lambda nn: nn.Conv2d(4, 2, 3, padding=(2, 1), padding_mode="reflect"), image),
        ("Conv2d replicate", lambda nn: nn.Conv2d(4, 2, 3, padding=1, padding_mode="replicate"), image),
        ("Conv2d circular", lambda nn: nn.Conv2d(4, 2, 3, padding=1, padding_mode="circular"), image),
        ("Conv3d", lambda nn: nn.Conv3d(2, 3, (1, 2, 3), padding=(0, 1, 1)), volume),
        ("ConvTranspose1d", lambda nn: nn.ConvTranspose1d(4, 6, 3, stride=2), signal),
        ("ConvTranspose2d", lambda nn: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), image),
        ("ConvTranspose3d", lambda nn: nn.ConvTranspose3d(2, 3, 2, bias=False), volume),
        ("MaxPool1d", lambda nn: nn.MaxPool1d(2), signal),
        ("MaxPool2d", lambda nn: nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), image),
        ("MaxPool3d", lambda nn: nn.MaxPool3d((1, 2, 2)), volume),
        ("AvgPool1d", lambda nn: nn.AvgPool1d(3, 2, 1), signal),
        ("AvgPool2d", lambda nn: nn.AvgPool2d(2, padding=1, count_include_pad=False), image),
        ("AvgPool3d", lambda nn: nn.AvgPool3d(2), volume),
        ("AdaptiveAvgPool1d", lambda nn: nn.AdaptiveAvgPool1d(4), signal),
        ("AdaptiveAvgPool2d", lambda nn: nn.AdaptiveAvgPool2d((2, 3)), image),
        ("BatchNorm1d", lambda nn: nn.BatchNorm1d(4), (5, 4)),
        ("BatchNorm1d of signals", lambda nn: nn.BatchNorm1d(4), signal),
        ("BatchNorm2d", lambda nn: nn.BatchNorm2d(4), image),
        ("BatchNorm2d plain", lambda nn: nn.BatchNorm2d(4, affine=False, eps=0.1, momentum=0.3), image),
        ("BatchNorm2d untracked", lambda nn: nn.BatchNorm2d(4, track_running_stats=False), image),
        ("BatchNorm2d cumulative", lambda nn: nn.BatchNorm2d(4, momentum=None), image),
        ("BatchNorm3d", lambda nn: nn.BatchNorm3d(2), volume),
        ("LayerNorm", lambda nn: nn.LayerNorm(5), image),
        ("LayerNorm over two", lambda nn: nn.LayerNorm((6, 5), eps=0.1), image),
        ("LayerNorm without bias", lambda nn: nn.LayerNorm(5, bias=False), image),
        ("LayerNorm plain", lambda nn: nn.LayerNorm(5, elementwise_affine=False), image),
        ("ReLU", lambda nn: nn.ReLU(), image),
        ("LeakyReLU", lambda nn: nn.LeakyReLU(0.3), image),
        ("ELU", lambda nn: nn.ELU(0.7), image),
        ("GELU", lambda nn: nn.GELU(), image),
        ("GELU tanh", lambda nn: nn.GELU(approximate="tanh"), image),
        ("SiLU", lambda nn: nn.SiLU(), image),
        ("Softplus", lambda nn: nn.Softplus(), image),
        ("Sigmoid", lambda nn: nn.Sigmoid(), image),
        ("Tanh", lambda nn: nn.Tanh(), image),
        ("Softmax", lambda nn: nn.Softmax(dim=1), image),
        ("LogSoftmax", lambda nn: nn.LogSoftmax(dim=-1), image),
        ("Identity", lambda nn: nn.Identity(), image),
        ("Dropout of nothing", lambda nn: nn.Dropout(0.0), image),
        ("Flatten", lambda nn: nn.Flatten(), image),
        ("Flatten the end", lambda nn: nn.Flatten(2), image),
        ("Flatten the middle", lambda nn: nn.Flatten(1, 2), image),
        ("Sequential", lambda nn: nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2)), image),
        ("Sequential nested", _nested, image),
        ("ModuleList", lambda nn: nn.ModuleList([nn.Linear(2, 3), nn.Linear(3, 4)]), None),
        (
            "ModuleDict",
            lambda nn: nn.ModuleDict({"encode": nn.Linear(2, 3), "decode": nn.Linear(3, 2)}),
            None,
        ),
        ("TransformerEncoderLayer", lambda nn: nn.TransformerEncoderLayer(8, 2, 12, 0.0), (3, 2, 8)),
        ("TransformerEncoderLayer norm first", _norm_first, (3, 2, 8)),
    ]
    cases = [ModuleCase(name, build, _input(name, shape)) for name, build, shape in builders]
    indices = frozen([[1, 0, 4], [4, 4, 9]])
    cases.append(ModuleCase("Embedding", lambda nn: nn.Embedding(10, 4), indices))
    cases.append(ModuleCase("Embedding padded", lambda nn: nn.Embedding(10, 4, padding_idx=0), indices))
    attention = _input("MultiheadAttention", (3, 2, 8))
    for name, options in (
        ("MultiheadAttention", {}),
        ("MultiheadAttention batch first", {"batch_first": True}),
    ):
        cases.append(ModuleCase(name, _attention(options), attention, lambda module, x: module(x, x, x)[0]))
    return cases


def _attention(options: Settings) -> Callable[[Any], Any]:
    return lambda nn: nn.MultiheadAttention(8, 2, **options)


def _nested(nn: Any) -> Any:
    convolve = nn.Sequential(nn.Conv2d(4, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU())
    return nn.Sequential(convolve, nn.Flatten(), nn.Linear(60, 3))


def _norm_first(nn: Any) -> Any:
    return nn.TransformerEncoderLayer(8, 2, 12, 0.0, activation="gelu", batch_first=True, norm_first=True)


def _input(name: str, shape: tuple[int, ...] | None) -> Array | None:
    return None if shape is None else Stream(f"{name}/input").uniform(shape, -2.0, 2.0)


# Training traces

STEPS = 10


@dataclass(frozen=True)
class TrainingCase:
    """`STEPS` steps of one network, a factory in `models_torch_style.py`, in float64.

    Step i trains on `batch(i)` with `nn.CrossEntropyLoss()`; scores of sequences are reshaped to
    (batch * length, classes) first, as `scores.reshape(-1, scores.shape[-1])`.
    """

    name: str
    model: str
    optimizer: str
    settings: Settings

    def __str__(self) -> str:
        return self.name

    @property
    def digest(self) -> str:
        batches = [array for step in range(3) for array in self.batch(step)]
        return digest(self.model, self.optimizer, sorted(self.settings.items()), *batches)

    def batch(self, step: int) -> tuple[Array, Array]:
        """(input, flat integer labels); three batches in turn, so that the loss falls."""
        return BATCHES[self.model](Stream(f"{self.model}/batch/{step % 3}"))


def training_cases() -> list[TrainingCase]:
    nesterov = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-2, "nesterov": True}
    runs: list[tuple[str, str, Settings]] = [
        ("perceptron", "SGD", {"lr": 0.1}),
        ("perceptron", "SGD", nesterov),
        ("perceptron", "Adam", {"lr": 0.01}),
        ("lenet", "SGD", nesterov),
        ("lenet", "Adam", {"lr": 0.01, "amsgrad": True}),
        ("lenet", "RMSprop", {"lr": 0.003, "centered": True, "momentum": 0.5}),
        ("ResidualNetwork", "SGD", nesterov),
        ("ResidualNetwork", "AdamW", {"lr": 0.01}),
        ("CharacterTransformer", "SGD", {"lr": 0.1, "momentum": 0.9}),
        ("CharacterTransformer", "Adam", {"lr": 0.01, "weight_decay": 1e-3}),
        ("CharacterTransformer", "AdamW", {"lr": 0.01, "weight_decay": 0.1, "betas": (0.9, 0.99)}),
    ]
    return [TrainingCase(f"{m}-{o}-{number}", m, o, s) for number, (m, o, s) in enumerate(runs)]


BATCHES: dict[str, Callable[[Stream], tuple[Array, Array]]] = {
    "perceptron": lambda stream: (stream.uniform((8, 12)), stream.integers(0, 3, (8,))),
    "lenet": lambda stream: (stream.uniform((6, 1, 8, 8), 0, 1), stream.integers(0, 9, (6,))),
    "ResidualNetwork": lambda stream: (stream.uniform((6, 1, 8, 8), 0, 1), stream.integers(0, 9, (6,))),
    "CharacterTransformer": lambda stream: (stream.integers(0, 10, (4, 6)), stream.integers(0, 10, (24,))),
}


# Optimizers

OPTIMIZER_STEPS = 20


@dataclass(frozen=True)
class OptimizerCase:
    """`OPTIMIZER_STEPS` steps on two parameters, "a" and "b", that start at `start()` (float64).

    Step i uses `gradients(i, parameters)`; where that gives None the parameter has no gradient in this step.
    `group` holds settings that only "b" has, as in `[{"params": [a]}, {"params": [b], **group}]`.
    """

    name: str
    optimizer: str
    settings: Settings
    group: Settings = field(default_factory=dict)
    skips: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def digest(self) -> str:
        first = self.gradients(1, self.start())
        return digest(self.optimizer, sorted(self.settings.items()), self.group, self.skips, *first.values())

    def start(self) -> dict[str, Array]:
        return {"a": Stream("optimizer/a").uniform((3,)), "b": Stream("optimizer/b").uniform((2, 2))}

    def gradients(self, step: int, parameters: Mapping[str, Array]) -> dict[str, Array | None]:
        """Of a quadratic bowl that sways from step to step."""
        found: dict[str, Array | None] = {}
        for name, values in parameters.items():
            target = Stream(f"optimizer/target/{name}").uniform(values.shape)
            curvature = Stream(f"optimizer/curvature/{name}").uniform(values.shape, 0.1, 3.0)
            found[name] = curvature * (values - target) + 0.25 * ((step * 7) % 5 - 2)
        return found | {"b": None} if self.skips and step % 4 in (0, 3) else found


def optimizer_cases() -> list[OptimizerCase]:
    settings: dict[str, list[Settings]] = {
        "SGD": [
            {"lr": 0.1},
            {"lr": 0.1, "momentum": 0.9},
            {"lr": 0.1, "momentum": 0.9, "dampening": 0.3},
            {"lr": 0.1, "momentum": 0.8, "nesterov": True},
            {"lr": 0.1, "weight_decay": 0.1},
            {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05},
            {"lr": 0.01, "momentum": 0.5, "weight_decay": 0.05, "maximize": True},
        ],
        "Adam": [
            {"lr": 0.05},
            {"lr": 0.05, "betas": (0.7, 0.9), "eps": 1e-3},
            {"lr": 0.05, "weight_decay": 0.1},
            {"lr": 0.05, "amsgrad": True, "betas": (0.5, 0.6)},
            {"lr": 0.05, "maximize": True, "weight_decay": 0.1},
        ],
        "AdamW": [
            {"lr": 0.05},
            {"lr": 0.05, "weight_decay": 0.3},
            {"lr": 0.05, "weight_decay": 0.0, "amsgrad": True, "betas": (0.5, 0.6)},
            {"lr": 0.05, "maximize": True},
        ],
        "RMSprop": [
            {"lr": 0.02},
            {"lr": 0.02, "alpha": 0.5, "eps": 1e-2},
            {"lr": 0.02, "momentum": 0.9},
            {"lr": 0.02, "centered": True},
            {"lr": 0.02, "centered": True, "momentum": 0.5, "weight_decay": 0.1},
            {"lr": 0.02, "maximize": True, "weight_decay": 0.1},
        ],
    }
    cases = [
        OptimizerCase(f"{o}-{i}", o, options)
        for o, rows in settings.items()
        for i, options in enumerate(rows)
    ]
    cases += [
        OptimizerCase(f"{o}-groups", o, rows[0], {"lr": 0.005, "weight_decay": 0.2})
        for o, rows in settings.items()
    ]
    # The last row has momentum or moments, which a step without a gradient must leave alone.
    return cases + [OptimizerCase(f"{o}-skips", o, rows[3], skips=True) for o, rows in settings.items()]


# Learning-rate schedules

SCHEDULE_STEPS = 30


@dataclass(frozen=True)
class ScheduleCase:
    """The learning rate (`lr`) used in each of `SCHEDULE_STEPS` steps.

    `schedule(optimizer, **settings)` on SGD with lr=0.1 and momentum=0.9; `momentum` is stored too.
    """

    name: str
    schedule: str
    settings: Settings

    def __str__(self) -> str:
        return self.name

    @property
    def digest(self) -> str:
        plain = {key: value for key, value in self.settings.items() if not callable(value)}
        return digest(self.schedule, sorted(plain.items()))


def schedule_cases() -> list[ScheduleCase]:
    rows: list[tuple[str, Settings]] = [
        ("StepLR", {"step_size": 4}),
        ("StepLR", {"step_size": 7, "gamma": 0.5}),
        ("MultiStepLR", {"milestones": [3, 4, 17], "gamma": 0.3}),
        ("MultiStepLR", {"milestones": [5, 5, 11]}),
        ("ExponentialLR", {"gamma": 0.9}),
        ("CosineAnnealingLR", {"T_max": 30}),
        ("CosineAnnealingLR", {"T_max": 9, "eta_min": 0.01}),
        ("CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 2, "eta_min": 0.001}),
        ("LinearLR", {}),
        ("LinearLR", {"start_factor": 0.1, "end_factor": 0.8, "total_iters": 12}),
        ("ConstantLR", {"factor": 0.2, "total_iters": 6}),
        ("PolynomialLR", {"total_iters": 20, "power": 2.0}),
        ("LambdaLR", {"lr_lambda": lambda epoch: 0.95**epoch if epoch > 5 else (epoch + 1) / 6}),
        ("OneCycleLR", {"max_lr": 0.5, "total_steps": 30}),
        ("OneCycleLR", {"max_lr": 0.5, "total_steps": 35, "pct_start": 0.2, "anneal_strategy": "linear"}),
        (
            "OneCycleLR",
            {"max_lr": 0.5, "epochs": 6, "steps_per_epoch": 5, "three_phase": True, "div_factor": 10.0},
        ),
    ]
    return [ScheduleCase(f"{schedule}-{number}", schedule, s) for number, (schedule, s) in enumerate(rows)]
