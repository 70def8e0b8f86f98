"""Quantization on any GPU: fewer bits, the same answer, at memory speed.

``lowbit.KMeans`` and ``lowbit.MiniBatchKMeans`` are scikit-learn's estimators on any Vulkan, Metal or DX12 GPU. Nothing is opened
before something first runs on a device; arrays of numpy go in without a copy.
"""

from __future__ import annotations

import importlib
from typing import Any

from ._lowbit import __version__
from .errors import (
    DeviceError,
    Error,
    FileError,
    InputError,
    Interrupted,
    NotFiniteError,
    NotFittedError,
    OutOfMemoryError,
    UnsupportedError,
)

# Where what is asked for comes from. Estimators are made when they are first asked for: where there is scikit-learn they are made
# of its classes, and importing those takes a second.
_LAZY = {
    "KMeans": "_estimators",
    "MiniBatchKMeans": "_estimators",
    "batch_kmeans": "_batch",
    "devices": "_devices",
}
_MODULES = ("faiss_like",)

__all__ = [
    "DeviceError",
    "Error",
    "FileError",
    "InputError",
    "Interrupted",
    "NotFiniteError",
    "NotFittedError",
    "OutOfMemoryError",
    "UnsupportedError",
    "__version__",
    *_LAZY,
    *_MODULES,
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
