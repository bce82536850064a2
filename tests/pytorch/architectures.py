"""Architectures of the field, built with PyTorch from code, small enough for a test: module, inputs, free axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn


class Case(NamedTuple):
    """A module of one family.

    Attributes:
        build: makes it.
        inputs: makes its inputs for a batch, and for the second size where there is one.
        axes: its free sizes: number of an input -> axis -> name.
        second: two values of the second free size; empty where the model allows only one.
    """

    build: Callable[[], nn.Module]
    inputs: Callable[..., tuple[torch.Tensor, ...]]
    axes: dict[int, dict[int, str]]
    second: tuple[int, ...] = ()


class Block(nn.Module):
    """A residual block of ResNet-18, or with `bottleneck` of ResNet-50."""

    def __init__(self, inside: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = width * (4 if bottleneck else 1)
        shapes = [(inside, width, 1), (width, width, 3), (width, out, 1)] if bottleneck else [
            (inside, width, 3), (width, out, 3)]  # fmt: skip
        layers: list[nn.Module] = []
        for i, (a, b, k) in enumerate(shapes):
            layers += [
                nn.Conv2d(a, b, k, stride if i == int(bottleneck) else 1, k // 2, bias=False),
                nn.BatchNorm2d(b),
            ]
            layers += [nn.ReLU(inplace=True)] * (i < len(shapes) - 1)
        self.body = nn.Sequential(*layers)
        self.skip = nn.Sequential(nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        if inside == out and stride == 1:
            self.skip = nn.Sequential()

    def forward(self, x: Any) -> Any:
        return F.relu(self.body(x) + self.skip(x), inplace=True)


class ResNet(nn.Module):
    def __init__(self, counts: tuple[int, ...], bottleneck: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        stages, inside = [], 8
        for i, count in enumerate(counts):
            width = 8 * 2**i
            for k in range(count):
                stages.append(Block(inside, width, 2 if i and not k else 1, bottleneck))
                inside = width * (4 if bottleneck else 1)
        self.stages = nn.Sequential(*stages)
        self.pool, self.out = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(inside, 10)

    def forward(self, x: Any) -> Any:
        return self.out(torch.flatten(self.pool(self.stages(self.stem(x))), 1))


def vgg() -> nn.Module:
    layers: list[nn.Module] = []
    inside = 3
    for width in (8, 8, 0, 16, 16, 0, 24, 24, 24, 0):
        layers += [nn.Conv2d(inside, width, 3, padding=1), nn.ReLU(True)] if width else [nn.MaxPool2d(2, 2)]
        inside = width or inside
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d((3, 3)), nn.Flatten(), nn.Linear(24 * 9, 32), nn.ReLU(True), nn.Dropout(0.0),
        nn.Linear(32, 10),
    )  # fmt: skip


class Inverted(nn.Module):
    """An inverted residual block, with squeeze and excitation as in MobileNetV3 and EfficientNet."""

    def __init__(
        self, inside: int, out: int, stride: int, activation: type[nn.Module], squeeze: bool
    ) -> None:
        super().__init__()
        wide = inside * 3
        self.expand = nn.Sequential(
            nn.Conv2d(inside, wide, 1, bias=False), nn.BatchNorm2d(wide), activation()
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), activation()
        )
        self.squeeze = (
            nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(wide, 4, 1),
                nn.ReLU(),
                nn.Conv2d(4, wide, 1),
                nn.Hardsigmoid(),
            )
            if squeeze
            else None
        )
        self.project = nn.Sequential(nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out))
        self.same = inside == out and stride == 1

    def forward(self, x: Any) -> Any:
        y = self.depthwise(self.expand(x))
        if self.squeeze is not None:
            y = y * self.squeeze(y)
        y = self.project(y)
        return x + y if self.same else y


def mobile(activation: type[nn.Module], squeeze: bool) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), activation(),
        Inverted(8, 8, 1, activation, squeeze), Inverted(8, 16, 2, activation, squeeze),
        Inverted(16, 16, 1, activation, squeeze), nn.Conv2d(16, 32, 1), activation(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Dropout(0.0), nn.Linear(32, 10),
    )  # fmt: skip


class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleList()
        for i in range(3):
            width = 8 + 4 * i
            self.layers.append(
                nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 4, 3, padding=1, bias=False))
            )
        self.transition = nn.Sequential(
            nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 10, 1), nn.AvgPool2d(2, 2)
        )
        self.out = nn.Linear(10, 10)

    def forward(self, x: Any) -> Any:
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        x = self.transition(torch.cat(features, 1))
        return self.out(F.adaptive_avg_pool2d(F.relu(x), 1).flatten(1))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()

        def double(a: int, b: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(2, b), nn.SiLU())

        self.down1, self.down2, self.middle = double(3, 8), double(8, 16), double(16, 16)
        self.up2, self.up1 = double(32, 8), double(16, 8)
        self.grow = nn.ConvTranspose2d(16, 16, 2, stride=2)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x: Any) -> Any:
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        x = self.grow(self.middle(F.max_pool2d(two, 2)))
        x = self.up2(torch.cat([two, x], 1))
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.out(self.up1(torch.cat([one, x], 1)))


class LanguageLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm = nn.Embedding(20, 8), nn.LSTM(8, 12, num_layers=2, batch_first=True)
        self.out = nn.Linear(12, 20)

    def forward(self, words: Any) -> Any:
        return self.out(self.lstm(self.words(words))[0])


class Layer(nn.Module):
    """A transformer layer as GPT-2 has it, or with `causal=False` one of ViT."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Any) -> Any:
        batch, length, width = x.shape
        parts = self.project(self.norm1(x)).split(width, dim=2)
        q, k, v = (one.view(batch, length, self.heads, width // self.heads).transpose(1, 2) for one in parts)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.merge(y.transpose(1, 2).contiguous().view(batch, length, width))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    """With the table of words shared by input and output."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(20, 16), nn.Embedding(48, 16)
        self.layers = nn.ModuleList([Layer(16, 4, True), Layer(16, 4, True)])
        self.norm = nn.LayerNorm(16)
        self.out = nn.Linear(16, 20, bias=False)
        self.out.weight = self.words.weight

    def forward(self, words: Any) -> Any:
        x = self.words(words) + self.places(torch.arange(words.shape[1], device=words.device))
        for layer in self.layers:
            x = layer(x)
        return self.out(self.norm(x))


class BERT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 16, padding_idx=0)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.pool = nn.Linear(16, 3)

    def forward(self, words: Any, present: Any) -> Any:
        x = self.encoder(self.words(words), src_key_padding_mask=present == 0)
        return torch.tanh(self.pool(x[:, 0]))


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.first, self.places = (
            nn.Parameter(torch.zeros(1, 1, 16)),
            nn.Parameter(torch.randn(1, 17, 16) * 0.02),
        )
        self.layers = nn.Sequential(Layer(16, 2, False), Layer(16, 2, False))
        self.norm, self.out = nn.LayerNorm(16), nn.Linear(16, 10)

    def forward(self, x: Any) -> Any:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], dim=1) + self.places
        return self.out(self.norm(self.layers(x))[:, 0])


class GAN(nn.Module):
    """A generator and a discriminator one behind the other, as a step of the generator sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(
            nn.Linear(6, 64), nn.Unflatten(1, (16, 2, 2)), nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.BatchNorm2d(8),
            nn.ReLU(True), nn.ConvTranspose2d(8, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip
        self.discriminator = nn.Sequential(
            nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(8, 1, 4), nn.Flatten(0)
        )

    def forward(self, noise: Any) -> Any:
        return self.discriminator(self.generator(noise))


class Detector(nn.Module):
    """A detection head: class scores and boxes of every place of two feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList([nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)])
        self.scores, self.boxes = nn.Conv2d(8, 2 * 3, 3, padding=1), nn.Conv2d(8, 2 * 4, 3, padding=1)

    def forward(self, x: Any) -> Any:
        scores, boxes = [], []
        for layer in self.body:
            x = F.relu(layer(x))
            scores.append(self.scores(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 3))
            boxes.append(self.boxes(x).permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4))
        return torch.cat([torch.cat(scores, 1).sigmoid(), torch.cat(boxes, 1).exp().clamp(max=5.0)], 2)


class Diffusion(nn.Module):
    """A block of a diffusion U-Net (DDPM): told the time by waves, with attention among places, down and up again."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.width = width
        self.time = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.norm1, self.norm2, self.norm3 = (nn.GroupNorm(4, width) for _ in range(3))
        self.conv1, self.conv2 = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.down, self.up = nn.Conv2d(width, width, 3, 2, 1), nn.Conv2d(width, width, 3, padding=1)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.out = nn.Conv2d(2 * width, 3, 1)

    def forward(self, x: Any, times: Any) -> Any:
        waves = times[:, None] * torch.exp(torch.arange(self.width // 2) * (-9.2 / self.width))
        told = self.time(torch.cat([waves.sin(), waves.cos()], 1))[:, :, None, None]
        skip = self.conv2(F.silu(self.norm1(self.conv1(x) + told)))
        inner = F.silu(self.norm2(self.down(skip)))
        places = inner.flatten(2).transpose(1, 2)
        seen = self.attention(places, places, places, need_weights=False)[0].transpose(1, 2)
        inner = self.norm3(inner + seen.reshape(inner.shape))
        wide = self.up(F.interpolate(inner, scale_factor=2.0, mode="nearest"))
        return self.out(torch.cat([skip, wide], 1))


def _images(size: int) -> Callable[..., tuple[torch.Tensor, ...]]:
    return lambda batch, side=size: (torch.randn(batch, 3, side, side),)


def _words(batch: int, length: int = 8) -> tuple[torch.Tensor, ...]:
    return (torch.randint(1, 20, (batch, length)),)


def _padded(batch: int, length: int = 8) -> tuple[torch.Tensor, ...]:
    present = torch.ones(batch, length, dtype=torch.int64)
    present[:, -2:] = 0
    return (*_words(batch, length), present)


BATCH = {0: {0: "N"}}
IMAGES = {0: {0: "N", 2: "H", 3: "H"}}
WORDS = {0: {0: "N", 1: "T"}}

CASES: dict[str, Case] = {
    "ResNet-18": Case(lambda: ResNet((2, 2, 2, 2), False), _images(32), IMAGES, (48, 64)),
    "ResNet-50": Case(lambda: ResNet((3, 4, 6, 3), True), _images(32), BATCH),
    "VGG-16": Case(vgg, _images(24), IMAGES, (24, 48)),
    "MobileNetV2": Case(lambda: mobile(nn.ReLU6, False), _images(16), IMAGES, (24, 32)),
    "MobileNetV3": Case(lambda: mobile(nn.Hardswish, True), _images(16), BATCH),
    "EfficientNet": Case(lambda: mobile(nn.SiLU, True), _images(16), BATCH),
    "DenseNet": Case(DenseNet, _images(12), IMAGES, (16, 20)),
    "U-Net": Case(UNet, _images(16), BATCH),
    "LSTM": Case(LanguageLSTM, _words, WORDS, (5, 11)),
    "GPT": Case(GPT, _words, WORDS, (5, 17)),
    "BERT": Case(BERT, _padded, {0: {0: "N", 1: "T"}, 1: {0: "N", 1: "T"}}, (5, 17)),
    "ViT": Case(ViT, _images(16), BATCH),
    "GAN": Case(GAN, lambda batch: (torch.randn(batch, 6),), BATCH),
    "diffusion block": Case(
        Diffusion,
        lambda batch: (torch.randn(batch, 3, 8, 8), torch.rand(batch) * 100),
        {0: {0: "N"}, 1: {0: "N"}},
    ),
    "detection head": Case(Detector, _images(16), IMAGES, (20, 24)),
}
