"""Quantized weights, and products with them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from . import _lowbit
from ._checks import adapter_of, choice, floats, whole
from .errors import InputError

__all__ = ["Format", "QuantizedWeights", "dequantize", "formats", "matmul", "quantize"]

_PATHS = ("auto", "float", "integer", "half")


@dataclass(frozen=True)
class Format:
    """A number format.

    Attributes
    ----------
    name : str
        ggml's name for it, such as ``"Q4_K"``, or lowbit's own.
    ggml_type : int or None
        Its number in GGUF files; None if they cannot hold it.
    block_weights : int
        Weights of a block: the columns of a matrix have to be a multiple of it.
    block_bytes : int
        Bytes of a block.
    bits_per_weight : float
        Bits that a weight takes, scales included.
    integer : bool
        Whether its codes are whole numbers of 8 bits or fewer, so that ``path="integer"`` can be taken.
    """

    name: str
    ggml_type: int | None
    block_weights: int
    block_bytes: int
    bits_per_weight: float
    integer: bool


def formats() -> list[Format]:
    """The number formats that weights can have.

    Returns
    -------
    formats : list of Format
        ggml's in the order of their numbers, then the others.
    """
    return [Format(**{of.name: found[of.name] for of in fields(Format)}) for found in _lowbit.formats()]


def _format(name: Any) -> Format:
    if isinstance(name, Format):
        return name
    known = formats()
    for of in known:
        if isinstance(name, str) and of.name == name.upper():
            return of
    raise InputError(f"format is {name!r}: expected one of {', '.join(of.name for of in known)}")


class QuantizedWeights:
    """A matrix of weights in a number format, as blocks in host memory.

    Parameters
    ----------
    blocks : ndarray of uint8, shape (rows, bytes of a row)
        The blocks as a GGUF file has them. They are held as a read-only view, without a copy if they are C-contiguous, and
        must not be changed: what is on a device would not follow.
    format : str
        The number format, such as ``"Q4_K"``; see :func:`lowbit.formats`.
    cols : int
        Weights of a row, a multiple of the format's block.

    Notes
    -----
    A product uploads the weights to a device, where they stay for the next one until :meth:`release` or the end of the object.
    Pickles and copies have the blocks alone.
    """

    def __init__(self, blocks: Any, format: str, cols: int) -> None:
        of = _format(format)
        cols = whole("cols", cols, 1)
        array = np.asarray(blocks)
        if array.dtype != np.uint8 or array.ndim != 2 or 0 in array.shape:
            raise InputError(f"blocks: a matrix of uint8 is expected, and not {array.dtype} of shape {array.shape}")
        if cols % of.block_weights:
            raise InputError(f"cols is {cols}: rows in {of.name} are a multiple of {of.block_weights} weights")
        row_bytes = cols // of.block_weights * of.block_bytes
        if array.shape[1] != row_bytes:
            raise InputError(f"blocks: rows of {cols} weights in {of.name} are {row_bytes} bytes, and not {array.shape[1]}")
        view = np.ascontiguousarray(array).view()
        view.flags.writeable = False
        self._blocks = view
        self._format = of
        self._cols = cols
        # By the adapter's name, and whether weights may be infinite or no numbers.
        self._uploads: dict[tuple[str | None, bool], Any] = {}

    @property
    def blocks(self) -> np.ndarray:
        """The blocks, uint8 of shape (rows, bytes of a row), read-only."""
        return self._blocks

    @property
    def format(self) -> str:
        """The name of the number format."""
        return self._format.name

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols), counted in weights."""
        return (int(self._blocks.shape[0]), self._cols)

    @property
    def nbytes(self) -> int:
        """Bytes of the blocks."""
        return int(self._blocks.nbytes)

    @property
    def bits_per_weight(self) -> float:
        """Bits that a weight takes, scales included."""
        return self._format.bits_per_weight

    def dequantize(self) -> np.ndarray:
        """What the blocks stand for.

        Returns
        -------
        weights : ndarray of float32, shape (rows, cols)
        """
        values: np.ndarray = _lowbit.dequantize(self._blocks, self.format, self._cols)
        return values

    def release(self) -> None:
        """Frees what is on devices; the next product uploads it again."""
        self._uploads = {}

    def _on_device(self, adapter: str | None, allow_nonfinite: bool) -> Any:
        key = (adapter, allow_nonfinite)
        found = self._uploads.get(key)
        if found is None or found.lost:
            found = _lowbit.DeviceWeights(self._blocks, self.format, self._cols, adapter, allow_nonfinite)
            self._uploads[key] = found
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {"blocks": np.asarray(self._blocks), "format": self.format, "cols": self._cols}

    def __setstate__(self, state: dict[str, Any]) -> None:
        QuantizedWeights.__init__(self, state["blocks"], state["format"], state["cols"])

    def __repr__(self) -> str:
        rows, cols = self.shape
        return f"QuantizedWeights({self.format}, shape=({rows}, {cols}), nbytes={self.nbytes})"


def quantize(array: Any, format: str) -> QuantizedWeights:
    """Weights in another number format.

    Parameters
    ----------
    array : array_like, shape (rows, cols)
        Weights. What is not float32 becomes that first. `cols` has to be a multiple of the format's block.
    format : str
        The number format, such as ``"Q4_K"``; see :func:`lowbit.formats`.

    Returns
    -------
    weights : QuantizedWeights
        As ``lowbit quantize`` makes them, to the bit: simple formats as ggml's reference quantizers, K formats by a search for
        the scales of the least weighted error.

    Raises
    ------
    NotFiniteError
        For a weight that is infinite or no number.
    InputError
        For a format that is not known, columns that are no whole blocks, and weights that are too large for the format.
    """
    of = _format(format)
    x = floats("array", array, 2)
    return QuantizedWeights(_lowbit.quantize(x, of.name), of.name, x.shape[1])


def dequantize(weights: Any, format: str | None = None, cols: int | None = None) -> np.ndarray:
    """What quantized weights stand for.

    Parameters
    ----------
    weights : QuantizedWeights, or ndarray of uint8, shape (rows, bytes of a row)
        The weights, or their blocks.
    format : str, optional
        The number format of blocks; only for an array.
    cols : int, optional
        Weights of a row of blocks; all that the bytes of a row hold if not given.

    Returns
    -------
    values : ndarray of float32, shape (rows, cols)
    """
    if isinstance(weights, QuantizedWeights):
        if format is not None or cols is not None:
            raise InputError("format and cols are for blocks: quantized weights have their own")
        return weights.dequantize()
    if format is None:
        raise InputError("format: blocks do not say which format they have; give its name")
    of = _format(format)
    blocks = np.asarray(weights)
    if cols is None:
        if blocks.ndim != 2 or blocks.shape[1] % of.block_bytes:
            raise InputError(f"blocks: rows of whole blocks of {of.block_bytes} bytes are expected, and the shape is {blocks.shape}")
        cols = blocks.shape[1] // of.block_bytes * of.block_weights
    return QuantizedWeights(blocks, of.name, cols).dequantize()


def matmul(
    weights: QuantizedWeights,
    x: Any,
    bias: Any = None,
    path: str = "auto",
    adapter: str | None = None,
    *,
    allow_nonfinite: bool = False,
) -> np.ndarray:
    """``x @ weights.T + bias``, as a linear layer has it, on a device.

    Parameters
    ----------
    weights : QuantizedWeights, shape (rows, cols)
        A row for each output. They are uploaded once for each adapter.
    x : array_like, shape (n, cols) or (cols,)
        A row for each vector that is multiplied; what is not float32 becomes that.
    bias : array_like, shape (rows,), optional
        Added to every row of the result.
    path : {"auto", "float", "integer", "half"}, default="auto"
        What is multiplied: weights with float32; codes with `x` rounded to int8, 32 values to a scale (a relative squared error of
        about 3e-5 for normal values); float16 with float32 sums, on adapters with cooperative matrices (about 1e-7). ``"auto"``
        takes the fastest of them for this adapter, format and shape, as the command line does: often ``"integer"`` for few rows of
        `x` and ``"float"`` for many, so that a row can come out a little different in another batch. ``"float"`` is what numpy gives, up
        to the order of additions.
    adapter : str, optional
        A part of the name of the adapter to run on; see :func:`lowbit.devices`.
    allow_nonfinite : bool, default=False
        Whether weights that are infinite or no numbers are taken as they are, and not refused.

    Returns
    -------
    y : ndarray of float32, shape (n, rows) or (rows,)
        A row for each row of `x`, C-contiguous.

    Raises
    ------
    InputError
        For shapes that do not fit; `UnsupportedError` for a path that the format or the adapter does not have.
    NotFiniteError
        For weights that are not finite, and for such values in `x` where the path is ``"integer"`` or ``"half"``.
    """
    if not isinstance(weights, QuantizedWeights):
        raise InputError(f"weights: quantized weights are expected, and not {type(weights).__name__}: see lowbit.quantize")
    choice("path", path, _PATHS)
    values = floats("x", x, 1, 2)
    rows, cols = weights.shape
    if values.shape[-1] != cols:
        raise InputError(f"x: its rows have {values.shape[-1]} values, and those of the weights {cols}: x is [n, cols]")
    added = None
    if bias is not None:
        added = floats("bias", bias, 1)
        if added.shape != (rows,):
            raise InputError(f"bias: its shape is {added.shape}, and the weights have {rows} rows")
    on_device = weights._on_device(adapter_of(adapter), bool(allow_nonfinite))
    product, _ = on_device.times(values.reshape(-1, cols), added, path)
    result = np.ascontiguousarray(product.T)
    return result[0] if values.ndim == 1 else result
