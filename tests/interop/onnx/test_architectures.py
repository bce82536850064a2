"""Architectures built with PyTorch, exported by both of its exporters and read here: outputs, gradients, pictures.

Parameters that an exporter joins, turns or folds have other names in the file, and are compared no further.
"""

import contextlib
import io
import logging
import warnings

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the package onnx is not installed")
torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("onnxscript", reason="onnxscript, which PyTorch exports with, is not installed")

from torch import nn  # noqa: E402 - after the packages were found
from torch.nn import functional  # noqa: E402

import tinygraph as tg  # noqa: E402

pytestmark = pytest.mark.reference


class Residual(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        same = stride == 1 and inside == outside
        self.down = (
            None
            if same
            else nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
        )

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + (x if self.down is None else self.down(x)))


class ResNet18(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1, self.pool = nn.BatchNorm2d(width), nn.MaxPool2d(3, 2, 1)
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        for i in range(4):
            first = Residual(widths[i], widths[i + 1], 1 if i == 0 else 2)
            setattr(self, f"layer{i + 1}", nn.Sequential(first, Residual(widths[i + 1], widths[i + 1], 1)))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(widths[-1], 10)

    def forward(self, x):
        x = self.pool(functional.relu(self.bn1(self.conv1(x))))
        for i in range(4):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


def vgg():
    return nn.Sequential(
        *(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ),
        *(
            nn.Conv2d(4, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(128, 16),
            nn.ReLU(),
        ),
        *(nn.Dropout(), nn.Linear(16, 5)),
    )


class Inverted(nn.Module):
    """MobileNetV3's block: expanded, depthwise, squeezed and excited, projected."""

    def __init__(self):
        super().__init__()
        self.expand, self.depth = nn.Conv2d(4, 12, 1), nn.Conv2d(12, 12, 5, padding=2, groups=12)
        self.squeeze, self.excite, self.project = (
            nn.Conv2d(12, 4, 1),
            nn.Conv2d(4, 12, 1),
            nn.Conv2d(12, 4, 1),
        )

    def forward(self, x):
        y = functional.hardswish(self.depth(functional.hardswish(self.expand(x))))
        scale = functional.adaptive_avg_pool2d(y, 1)
        scale = functional.hardsigmoid(self.excite(functional.relu(self.squeeze(scale))))
        return x + self.project(y * scale)


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3 + 4 * i, 4, 3, padding=1) for i in range(3))
        self.transition, self.pool = nn.Conv2d(15, 6, 1), nn.AvgPool2d(2, padding=1)

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, functional.relu(layer(x))], 1)
        return self.pool(self.transition(x))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.inner = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(8, 4, 2, 2), nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x):
        skip = functional.silu(self.down(x))
        inner = functional.gelu(self.inner(functional.max_pool2d(skip, 2)))
        wide = functional.interpolate(inner, scale_factor=2, mode="bilinear", align_corners=False)
        return self.out(torch.cat([skip, self.up(inner)], 1)) + wide.mean(1, keepdim=True)


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(20, 8), nn.Linear(12, 20)
        self.lstm = nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True)

    def forward(self, tokens):
        return self.out(self.lstm(self.embed(tokens))[0])


class Transformer(nn.Module):
    """GPT's block, or BERT's where it sees all."""

    def __init__(self, causal):
        super().__init__()
        self.causal, width = causal, 16
        self.tokens, self.places = nn.Embedding(50, width), nn.Embedding(12, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down, self.head = (
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
            nn.Linear(width, 50),
        )

    def forward(self, tokens):
        n, length = tokens.shape
        x = self.tokens(tokens) + self.places(torch.arange(length))
        query, key, value = (
            one.reshape(n, length, 2, -1).transpose(1, 2) for one in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        x = x + self.project(seen.transpose(1, 2).reshape(n, length, -1))
        return self.head(x + self.down(functional.gelu(self.up(self.norm2(x)))))


class Patches(nn.Module):
    """ViT: patches as words, with a word for the class in front."""

    def __init__(self):
        super().__init__()
        self.patch, self.word = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.randn(1, 1, 16))
        self.block = nn.TransformerEncoderLayer(
            16, 2, 32, batch_first=True, activation="gelu", norm_first=True
        )
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        words = self.patch(x).flatten(2).transpose(1, 2)
        return self.head(self.block(torch.cat([self.word.expand(x.shape[0], -1, -1), words], 1))[:, 0])


def generator():
    return nn.Sequential(
        *(
            nn.ConvTranspose2d(8, 6, 4),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.ConvTranspose2d(6, 3, 4, 2, 1),
            nn.Tanh(),
        ),
        *(
            nn.Conv2d(3, 4, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.InstanceNorm2d(4, affine=True),
            nn.Flatten(),
            nn.Linear(64, 1),
        ),
    )


def models():
    images = torch.randn(2, 3, 32, 32)
    words = torch.randint(0, 20, (2, 7))
    yield "ResNet-18", ResNet18(), images
    yield "VGG", vgg(), images[:, :, :16, :16]
    yield "MobileNetV3", Inverted(), torch.randn(2, 4, 8, 8)
    yield "DenseNet", Dense(), images[:, :, :8, :8]
    yield "U-Net", UNet(), torch.randn(1, 1, 16, 16)
    yield "LSTM", Language(), words
    yield "GPT", Transformer(True), words
    yield "BERT", Transformer(False), words
    yield "ViT", Patches(), images[:, :, :8, :8]
    yield "GAN", generator(), torch.randn(2, 8, 1, 1)


def export(model, x, path, dynamo):
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter's
        logging.disable(logging.CRITICAL)
        try:
            torch.onnx.export(model, (x,), path, dynamo=dynamo)
        finally:
            logging.disable(logging.NOTSET)


def relative(found, wanted):
    return np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
def test_exported_architectures(dynamo, tmp_path):
    torch.manual_seed(0)
    for name, model, x in models():
        with torch.no_grad():
            for one in model.parameters():  # exporters join what is equal
                one.add_(torch.randn_like(one) * 0.05)
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.1)
                    module.running_var.uniform_(0.5, 1.5)
        model.eval()
        export(model, x, tmp_path / f"{name}.onnx", dynamo)
        graph = tg.load(tmp_path / f"{name}.onnx")
        wanted = model(x)
        weights = torch.randn_like(wanted)
        torch.sum(wanted * weights).backward()
        found = graph(x.numpy())
        assert relative(found.numpy(), wanted.detach().numpy()) < 1e-5, name
        np.sum(found * weights.numpy()).backward()
        own = {one.name: one for one in graph.parameters}
        compared = 0
        for key, parameter in model.named_parameters():
            here, value = own.get(key), parameter.detach().numpy()
            if here is None or here.grad is None or not np.array_equal(here.numpy(), value):
                continue  # turned, or folded together with a normalisation
            least = 1e-5 * float(torch.abs(weights).sum())  # of gradients that cancel but for rounding
            assert np.abs(here.grad.numpy() - parameter.grad.numpy()).max() < max(
                1e-4 * parameter.grad.abs().max().item(), 1e-2 * least
            ), f"{name}: {key}"
            compared += 1
        assert compared >= 1, name
        assert "svg" in graph.draw(zoom="module").svg(), name
