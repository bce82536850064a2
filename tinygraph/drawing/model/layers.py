"""Layers in words: the class and the settings of the module behind a group, as papers write them.

What a module says of itself comes from `ModuleName`, so it is the same for a module, a loss and a loaded file.
"""

from __future__ import annotations

import re

from tinygraph.core.modes import ModuleName, Scope

_BETWEEN = re.compile(r", (?![^(\[]*[)\]])")  # commas outside of brackets
_NORM = re.compile(r"Norm(\dd)?$")
_NAMED = re.compile(r"(\w+)=(.*)")
# What says nothing about the shape of a network, or is seen at the arrows.
_SILENT = {
    "bias", "eps", "momentum", "affine", "elementwise_affine", "track_running_stats", "padding", "output_padding",
    "reduction", "num_parameters", "start_dim", "end_dim", "ceil_mode", "batch_first", "dim", "inplace",
    "count_include_pad", "device", "dtype", "padding_mode", "align_corners",
}  # fmt: skip
_USUAL = {
    "dilation": "1",
    "groups": "1",
    "approximate": "'none'",
    "mode": "'nearest'",
    "bidirectional": "False",
}
_WORDS = {
    "p": "{}", "negative_slope": "{}", "scale_factor": "×{}", "output_size": "to {}", "num_layers": "{} layers",
    "bidirectional": "bidirectional",
}  # fmt: skip


def class_of(scope: Scope) -> str:
    """The class of the module whose call is the innermost group; nothing if that is no module's."""
    name = scope[-1][0] if scope else ""
    return name.kind if isinstance(name, ModuleName) else ""


def is_norm(kind: str) -> bool:
    """Whether a class of modules normalizes, whatever ops it is made of: with fixed statistics they are elementwise.

    >>> is_norm("BatchNorm2d"), is_norm("LayerNorm"), is_norm("Normal")
    (True, True, False)
    """
    return bool(_NORM.search(kind))


def says_sizes(scope: Scope) -> bool:
    """Whether the innermost group is a layer whose settings tell how large its parameters are."""
    name = scope[-1][0] if scope else ""
    return isinstance(name, ModuleName) and bool(name.settings)


def settings_words(scope: Scope) -> tuple[str, list[str]]:
    """What tells the innermost group's module from others of its class: its kernel, and the other settings.

    >>> from weakref import ref
    >>> from tinygraph.nn import Conv2d
    >>> layer = Conv2d(3, 8, 3, stride=2)
    >>> settings_words(((ModuleName("stem", "Conv2d", False, ref(layer)), 0),))
    ('3×3', ['stride 2', '3 → 8'])
    """
    name = scope[-1][0] if scope else ""
    return in_words(name.kind, name.settings) if isinstance(name, ModuleName) else ("", [])


def in_words(kind: str, said: str) -> tuple[str, list[str]]:
    """The kernel and the other settings of a module of that class, of which its `repr` says so much.

    >>> in_words("Linear", "in_features=8, out_features=32, bias=True")
    ('', ['8 → 32'])
    """
    if not said:
        return "", []
    parts = _BETWEEN.split(said)
    named = [found for found in map(_NAMED.fullmatch, parts) if found]
    settings = {found[1]: found[2] for found in named}
    plain = [part for part in parts if not _NAMED.fullmatch(part)]
    axes = int(kind[-2]) if re.search(r"[123]d$", kind) else 0
    kernel = _sizes(settings.pop("kernel_size", ""), axes)
    words = []
    stride = settings.pop("stride", "1")
    if _one(stride) != "1" and not ("Pool" in kind and _sizes(stride, axes) == kernel):
        words.append(f"stride {_one(stride)}")
    ends = plain[:2] or [settings.pop(key, "") for key in ("in_features", "out_features")]
    if len(ends) == 2 and all(ends) and "Norm" not in kind:
        words.append(" → ".join(ends))
    elif plain and kind == "GroupNorm":
        words.append(f"{plain[0]} groups")
    for key, value in settings.items():
        if key not in _SILENT and _one(value) != _USUAL.get(key) and value not in ("", "None"):
            shown = _sizes(value, axes) if key == "output_size" else _one(value)
            words.append(_WORDS.get(key, key.replace("_", " ") + " {}").format(shown))
    return kernel, words


def _one(text: str) -> str:
    """A setting of several axes that are alike, once."""
    found = [part.strip() for part in text.strip("()").split(",") if part.strip()]
    return found[0] if found and len(set(found)) == 1 else text


def _sizes(text: str, axes: int) -> str:
    """A size along each axis."""
    found = [part.strip() for part in text.strip("()[]").split(",") if part.strip()]
    return "×".join(found * axes if len(found) == 1 and axes else found)
