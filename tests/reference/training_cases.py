"""The cases above single ops: modules, training traces, optimizers, schedules. NumPy and stdlib only.

The ops' cases are in `cases`; the networks of the training traces are in `models_torch_style.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from .seeded import Array, Stream, digest, frozen

Settings = dict[str, Any]


# Modules


@dataclass(frozen=True)
class ModuleCase:
    """One module: `build(nn)` makes it, `call(module, input, *others)` runs it; `nn` is torch.nn or its like."""

    name: str
    build: Callable[[Any], Any]
    input: Array | None
    call: Callable[..., Any] = lambda module, *inputs: module(*inputs)
    others: tuple[Array, ...] = ()

    def __str__(self) -> str:
        return self.name

    @property
    def digest(self) -> str:
        return digest(self.name, self.input, *self.others) if self.others else digest(self.name, self.input)

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
    return [*cases, *_layer_cases(), *_loss_cases()]


def _layer_cases() -> list[ModuleCase]:
    """Layers beyond those of the networks here: activations, norms, pools, padding, resampling, attention."""
    signal, image, volume = (2, 4, 9), (2, 4, 6, 5), (1, 2, 4, 3, 4)
    builders: list[tuple[str, Callable[[Any], Any], tuple[int, ...]]] = [
        *((name, partial(_made, name), image) for name in (
            "ReLU6", "Mish", "SELU", "Hardswish", "LogSigmoid", "Softsign", "Tanhshrink", "Softmax2d",
            "CELU", "Hardshrink", "Softshrink",
        )),
        ("CELU of a half", lambda nn: nn.CELU(0.5), image),
        ("Hardtanh", lambda nn: nn.Hardtanh(-0.5, 1.5), image),
        ("Threshold", lambda nn: nn.Threshold(0.3, -2.0), image),
        ("GLU", lambda nn: nn.GLU(1), image),
        ("Softmin", lambda nn: nn.Softmin(1), image),
        ("PReLU", lambda nn: nn.PReLU(), image),
        ("PReLU of channels", lambda nn: nn.PReLU(4, init=0.1), image),
        ("RReLU", lambda nn: nn.RReLU().eval(), image),
        ("InstanceNorm1d", lambda nn: nn.InstanceNorm1d(4), signal),
        ("InstanceNorm2d", lambda nn: nn.InstanceNorm2d(4, affine=True, track_running_stats=True), image),
        ("InstanceNorm3d", lambda nn: nn.InstanceNorm3d(2, track_running_stats=True).eval(), volume),
        ("LocalResponseNorm", lambda nn: nn.LocalResponseNorm(3, alpha=0.3, k=2.0), image),
        ("AvgPool2d divisor", lambda nn: nn.AvgPool2d(3, 2, 1, ceil_mode=True, divisor_override=4), image),
        ("LPPool1d", lambda nn: nn.LPPool1d(2, 3), signal),
        ("LPPool2d", lambda nn: nn.LPPool2d(4, (2, 3), 2), image),
        ("AdaptiveMaxPool1d", lambda nn: nn.AdaptiveMaxPool1d(4), signal),
        ("AdaptiveMaxPool2d", lambda nn: nn.AdaptiveMaxPool2d((4, None)), image),
        ("AdaptiveMaxPool3d", lambda nn: nn.AdaptiveMaxPool3d(2), volume),
        ("ZeroPad1d", lambda nn: nn.ZeroPad1d((1, 2)), signal),
        ("ConstantPad2d", lambda nn: nn.ConstantPad2d((1, 0, 2, -1), 0.5), image),
        ("ReflectionPad2d", lambda nn: nn.ReflectionPad2d((1, 2, 0, 3)), image),
        ("ReplicationPad3d", lambda nn: nn.ReplicationPad3d(1), volume),
        ("CircularPad2d", lambda nn: nn.CircularPad2d((3, 2, 1, 0)), image),
        ("Upsample nearest", lambda nn: nn.Upsample(scale_factor=1.7), image),
        ("Upsample exact", lambda nn: nn.Upsample(size=(4, 9), mode="nearest-exact"), image),
        ("Upsample linear", lambda nn: nn.Upsample(size=13, mode="linear"), signal),
        ("Upsample bilinear", lambda nn: nn.Upsample(scale_factor=(2.3, 0.6), mode="bilinear"), image),
        ("Upsample corners", lambda nn: nn.UpsamplingBilinear2d(size=(9, 3)), image),
        ("Upsample bicubic", lambda nn: nn.Upsample(size=(11, 4), mode="bicubic"), image),
        ("Upsample trilinear", lambda nn: nn.Upsample(scale_factor=2, mode="trilinear"), volume),
        ("PixelShuffle", lambda nn: nn.PixelShuffle(2), image),
        ("PixelUnshuffle", lambda nn: nn.PixelUnshuffle(2), (2, 3, 4, 6)),
        ("ChannelShuffle", lambda nn: nn.ChannelShuffle(2), image),
        ("Unfold", lambda nn: nn.Unfold((2, 3), dilation=(2, 1), padding=1, stride=2), image),
        ("Fold", lambda nn: nn.Fold((4, 5), (2, 3), padding=(1, 0), stride=(2, 1)), (2, 12, 9)),
        ("TransformerEncoder", lambda nn: nn.TransformerEncoder(_norm_first(nn), 2), (3, 2, 8)),
    ]  # fmt: skip
    cases = [ModuleCase(name, build, _input(name, shape)) for name, build, shape in builders]
    other, query = Stream("other").uniform((2, 4, 6, 5)), _input("attention", (3, 2, 8))
    memory = Stream("memory").uniform((4, 2, 8))
    for name, build, given, second in (
        ("Bilinear", lambda nn: nn.Bilinear(5, 5, 3), image, other),
        ("CosineSimilarity", lambda nn: nn.CosineSimilarity(), image, other),
        ("PairwiseDistance", lambda nn: nn.PairwiseDistance(3.0), image, other),
        ("TransformerDecoderLayer", lambda nn: nn.TransformerDecoderLayer(8, 2, 12, 0.0), (3, 2, 8), memory),
        ("Transformer", _transformer, (3, 2, 8), memory),
    ):
        cases.append(ModuleCase(name, build, _input(name, given), others=(second,)))
    for name, build in (
        ("RNN", lambda nn: nn.RNN(8, 3, 2, nonlinearity="relu")),
        ("LSTM", lambda nn: nn.LSTM(8, 3, 2, bidirectional=True)),
        ("GRU", lambda nn: nn.GRU(8, 3, bias=False, batch_first=True)),
    ):
        cases.append(ModuleCase(name, build, _input(name, (5, 2, 8)), lambda module, x: module(x)[0]))
    cases.append(
        ModuleCase("LSTM to the end", lambda nn: nn.LSTM(8, 3), _input("L", (5, 8)), lambda m, x: m(x)[1][1])
    )
    cases.append(ModuleCase("GRUCell", lambda nn: nn.GRUCell(8, 3), _input("GRUCell", (2, 8))))
    cases.append(
        ModuleCase("LSTMCell", lambda nn: nn.LSTMCell(8, 3), _input("C", (2, 8)), lambda m, x: m(x)[1])
    )
    cases.append(ModuleCase("RNNCell", lambda nn: nn.RNNCell(8, 3), _input("RNNCell", (8,))))
    both = {"add_bias_kv": True, "add_zero_attn": True}
    cases.append(
        ModuleCase("MultiheadAttention with more", _attention(both), query, lambda m, x: m(x, x, x)[0])
    )
    bags = frozen([[1, 0, 4], [4, 4, 9]])
    for mode in ("sum", "mean", "max"):
        build = partial(_made, "EmbeddingBag", num_embeddings=10, embedding_dim=4, mode=mode, padding_idx=4)
        cases.append(ModuleCase(f"EmbeddingBag {mode} padded", build, bags))
    return cases


def _loss_cases() -> list[ModuleCase]:
    """Losses of an input and one target, each alone and reduced."""
    table, row = (5, 4), (5,)
    signs, shares = Stream("signs").uniform(table), Stream("shares").uniform(table, 0.05, 0.95)
    signs = frozen(np.where(signs > 0, 1.0, -1.0))
    sign, classes = signs[:, 0], frozen([0, 3, 1, 1, 2])
    labels = frozen([[3, 0, -1, 1], [-1, 2, 1, 0], [2, -1, 0, 0], [0, 1, 2, 3], [1, -1, -1, -1]])
    counts, other = frozen(np.floor(shares * 5)), Stream("others").uniform(table)
    rows: list[tuple[str, dict[str, Any], Array]] = [
        ("SmoothL1Loss", {"beta": 0.7}, other),
        ("HuberLoss", {"delta": 0.7}, other),
        ("KLDivLoss", {}, shares),
        ("KLDivLoss", {"log_target": True, "reduction": "batchmean"}, other),
        ("PoissonNLLLoss", {"full": True}, counts),
        ("SoftMarginLoss", {}, signs),
        ("HingeEmbeddingLoss", {"margin": 0.8}, signs),
        ("MultiMarginLoss", {"p": 2, "margin": 0.6}, classes),
        ("MultiLabelMarginLoss", {}, labels),
        ("MultiLabelSoftMarginLoss", {}, frozen((signs + 1) / 2)),
        ("BCEWithLogitsLoss", {}, shares),
    ]
    cases = []
    for name, settings, target in rows:
        for reduction in (settings.pop("reduction", "none"), "mean"):
            case = f"{name} {reduction}{len(settings)}"
            build = partial(_made, name, reduction=reduction, **settings)
            cases.append(ModuleCase(case, build, _input(case, table), others=(target,)))
    probabilities = Stream("probabilities").uniform(table, 0.1, 0.9)
    pairs: list[tuple[str, dict[str, Any], Array, tuple[Array, ...]]] = [
        ("BCELoss", {}, probabilities, (shares,)),
        ("GaussianNLLLoss", {"full": True}, Stream("means").uniform(table), (other, shares)),
        ("MarginRankingLoss", {"margin": 0.3}, Stream("ranks").uniform(row), (other[:, 0], sign)),
        ("CosineEmbeddingLoss", {"margin": 0.1}, Stream("vectors").uniform(table), (other, sign)),
        ("TripletMarginLoss", {"swap": True}, Stream("anchors").uniform(table), (other, shares)),
    ]
    for name, settings, given, others in pairs:
        cases.append(ModuleCase(name, partial(_made, name, **settings), given, others=others))
    return cases


def _made(name: str, nn: Any, **settings: Any) -> Any:
    return getattr(nn, name)(**settings)


def _attention(options: Settings) -> Callable[[Any], Any]:
    return lambda nn: nn.MultiheadAttention(8, 2, **options)


def _transformer(nn: Any) -> Any:
    return nn.Transformer(8, 2, 1, 1, 12, 0.0)


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
