"""Product quantization."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import _lowbit
from ._arrays import rows_of
from ._checks import COUNT, adapter_of, numbers_of, seed_of, whole
from .errors import InputError

__all__ = ["ProductQuantizer", "product_quantizer"]

_LOG = logging.getLogger("lowbit")


@dataclass(frozen=True, eq=False)
class ProductQuantizer:
    """Codebooks that vectors are encoded with.

    Attributes
    ----------
    codebooks : ndarray of float32, shape (m, 2**bits, d / m)
        The centroids of each sub-space.
    codes : ndarray of uint8, shape (n, m)
        Those of the vectors that it was trained with.
    bits : int
        Bits of a code that are used.
    relative_squared_error : float
        Of those vectors, decoded, over their squared size.
    mean_squared_error : float
        The mean over all values.
    n_iter : int
        Most iterations that a sub-space took.
    """

    codebooks: np.ndarray = field(repr=False)
    codes: np.ndarray = field(repr=False)
    bits: int
    relative_squared_error: float
    mean_squared_error: float
    n_iter: int
    adapter: str | None = None

    @property
    def m(self) -> int:
        """Sub-spaces, and bytes of a vector's codes."""
        return int(self.codebooks.shape[0])

    @property
    def d(self) -> int:
        """Dimensions."""
        return int(self.codebooks.shape[0] * self.codebooks.shape[2])

    def encode(self, x: Any) -> np.ndarray:
        """The numbers of the nearest centroids.

        Parameters
        ----------
        x : array_like, shape (n, d)

        Returns
        -------
        codes : ndarray of uint8, shape (n, m)
        """
        points = numbers_of("x", x, (2,))
        if points.shape[1] != self.d:
            raise InputError(f"x: its rows have {points.shape[1]} values, and the codebooks are of {self.d}")
        codes: np.ndarray = _lowbit.pq_encode(rows_of(points), self.codebooks, self.adapter)
        return codes

    def decode(self, codes: Any) -> np.ndarray:
        """The vectors that codes stand for.

        Parameters
        ----------
        codes : array_like of uint8, shape (n, m)

        Returns
        -------
        x : ndarray of float32, shape (n, d)
        """
        array = numbers_of("codes", codes, (2,))
        if array.dtype.kind not in "iu" or array.shape[1] != self.m:
            raise InputError(f"codes: whole numbers of shape (n, {self.m}) are expected, and not {array.dtype} of {array.shape}")
        if array.min() < 0 or array.max() >= self.codebooks.shape[1]:
            raise InputError(f"codes: they go from {array.min()} to {array.max()}, and there are {self.codebooks.shape[1]} centroids")
        vectors: np.ndarray = _lowbit.pq_decode(np.ascontiguousarray(array, dtype=np.uint8), self.codebooks)
        return vectors


def product_quantizer(
    x: Any,
    m: int,
    bits: int = 8,
    *,
    max_iter: int = 300,
    max_points_per_centroid: int | None = 256,
    random_state: int | None = 0,
    memory: int | None = None,
    adapter: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> ProductQuantizer:
    """Trains a product quantizer on vectors, and encodes them.

    Parameters
    ----------
    x : array_like, shape (n, d)
        Vectors. float32, float16, uint8 and int8 go in as they are, other numbers become float32.
    m : int
        Sub-spaces of equal width, and bytes of a vector's codes; a divisor of `d`.
    bits : int, default=8
        Bits of a code, 4 to 8.
    max_iter : int, default=300
        Most iterations in a sub-space.
    max_points_per_centroid : int or None, default=256
        A sample of so many points for each centroid is trained on; all points if None.
    random_state : int or None, default=0
        The seed; None draws one.
    memory : int, optional
        MiB of the device's memory that points may take.
    adapter : str, optional
        A part of the name of the adapter, here and for :meth:`ProductQuantizer.encode`.
    progress : callable, optional
        Called with what is being done, in words.

    Returns
    -------
    quantizer : ProductQuantizer
    """
    points = numbers_of("x", x, (2,))
    most = max_points_per_centroid
    width, device = whole("bits", bits, 4), adapter_of(adapter)
    if width > 8:
        raise InputError(f"bits is {bits}: expected 4 to 8")
    settings = {
        "m": whole("m", m, 1),
        "bits": width,
        "seed": seed_of("random_state", random_state),
        "max_iter": whole("max_iter", max_iter, 1, COUNT),
        "subsample": None if most is None else whole("max_points_per_centroid", most, 1),
        "memory": None if memory is None else whole("memory", memory, 1, (1 << 44) - 1) << 20,
        "adapter": device,
    }
    found = _lowbit.pq_fit(rows_of(points), settings, progress)
    for notice in found.pop("notices"):
        _LOG.info("%s", notice)
    return ProductQuantizer(**found, bits=width, adapter=device)
