"""The version of the installed distribution."""

from __future__ import annotations

from importlib import metadata

DISTRIBUTION = "tinygraph-autodiff"


def version() -> str:
    """The version, or a word for a source folder that is not installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0+source"
