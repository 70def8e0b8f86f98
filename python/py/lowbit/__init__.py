"""Quantization on any GPU: fewer bits, the same answer, at memory speed.

``lowbit.KMeans`` and ``lowbit.MiniBatchKMeans`` are scikit-learn's estimators on any Vulkan, Metal or DX12 GPU. Nothing is opened
before something first runs on a device; arrays of numpy go in without a copy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._lowbit import __version__
from .errors import (
    DeviceError,
    Error,
    Fault,
    FileError,
    InputError,
    Interrupted,
    NotFiniteError,
    NotFittedError,
    OutOfMemoryError,
    UnsupportedError,
)

# What __getattr__ gives, for those who check types.
if TYPE_CHECKING:
    from . import classify as classify, faiss_like as faiss_like, kv as kv
    from ._batch import batch_kmeans as batch_kmeans
    from ._choose import Choice as Choice, choose_k as choose_k
    from ._devices import devices as devices
    from ._estimators import KMeans as KMeans, MiniBatchKMeans as MiniBatchKMeans
    from ._gguf import GgufFile as GgufFile, write_gguf as write_gguf
    from ._quantizer import ProductQuantizer as ProductQuantizer, product_quantizer as product_quantizer
    from ._tools import plan as plan, roofline as roofline
    from ._weights import (
        QuantizedWeights as QuantizedWeights,
        dequantize as dequantize,
        formats as formats,
        matmul as matmul,
        quantize as quantize,
    )

# Where what is asked for comes from. Estimators are made when they are first asked for: where there is scikit-learn they are made
# of its classes, and importing those takes a second.
_LAZY = {
    "Choice": "_choose",
    "GgufFile": "_gguf",
    "KMeans": "_estimators",
    "MiniBatchKMeans": "_estimators",
    "ProductQuantizer": "_quantizer",
    "QuantizedWeights": "_weights",
    "batch_kmeans": "_batch",
    "choose_k": "_choose",
    "dequantize": "_weights",
    "devices": "_devices",
    "formats": "_weights",
    "matmul": "_weights",
    "plan": "_tools",
    "product_quantizer": "_quantizer",
    "quantize": "_weights",
    "roofline": "_tools",
    "write_gguf": "_gguf",
}
_MODULES = ("classify", "faiss_like", "kv")

__all__ = [
    "DeviceError",
    "Error",
    "Fault",
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
