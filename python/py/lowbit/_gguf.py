"""GGUF files: tensors as views of a memory map."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np

from . import _lowbit
from ._checks import numbers_of, path_of
from ._weights import QuantizedWeights, formats
from .errors import InputError, UnsupportedError

__all__ = ["GgufFile", "GgufTensor", "write_gguf"]

# Types whose values numpy has. What GGUF calls BF16 it has not: its tensors are bytes.
_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "F64": np.dtype("<f8"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
}


@dataclass(frozen=True)
class GgufTensor:
    """What a GGUF file says of a tensor.

    Attributes
    ----------
    name : str
    type : str
        ggml's name of its number format.
    shape : tuple of int
        Counted in weights, the contiguous dimension last.
    nbytes : int
        Bytes of its data.
    file : int
        Which of the model's files it lies in, from 0.
    offset : int
        Where its data begins, in bytes from the beginning of that file.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    nbytes: int
    file: int
    offset: int


class GgufFile(Mapping[str, np.ndarray]):
    """A GGUF model, in one file or cut into several: a mapping from names to tensors.

    Parameters
    ----------
    path : path_like
        A GGUF file of version 2 or 3. A part of a model that was cut into several files stands for all of it.

    Attributes
    ----------
    metadata : mapping of str to object
        The key-value pairs: int, float, bool, str (bytes where a text is not UTF-8), arrays of numbers as ndarray, arrays of
        texts as lists.
    tensors : mapping of str to GgufTensor
        What there is, in the order of the file.
    files : list of pathlib.Path
    version : int
    alignment : int

    Notes
    -----
    ``file[name]`` is a read-only view of a memory map, made when it is first asked for: float32, float16, float64 and whole numbers
    with their dtype and the tensor's shape, everything else (BF16 too) as the bytes of its blocks, uint8, the last dimension
    in bytes. A file that becomes shorter while it is mapped is a fault of the operating system's that ends the process, as for any map.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        header = _lowbit.gguf_open(path_of("path", path))
        self.files = list(header["files"])
        self.version: int = header["version"]
        self.alignment: int = header["alignment"]
        self.metadata: Mapping[str, Any] = MappingProxyType(header["metadata"])
        found = {}
        self._row_bytes: dict[str, int] = {}
        for of in header["tensors"]:
            shape = tuple(of["shape"])
            found[of["name"]] = GgufTensor(of["name"], of["type"], shape, of["nbytes"], of["file"], of["offset"])
            self._row_bytes[of["name"]] = of["row_bytes"]
        self.tensors: Mapping[str, GgufTensor] = MappingProxyType(found)
        self._maps: dict[int, np.memmap[Any, Any]] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        tensor = self.tensors[name]
        data = self._bytes(tensor)
        dtype = _DTYPES.get(tensor.type)
        if dtype is not None:
            return data.view(dtype).reshape(tensor.shape)
        return data.reshape((*tensor.shape[:-1], self._row_bytes[name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __repr__(self) -> str:
        return f"GgufFile({str(self.files[0])!r}, {len(self)} tensors)"

    def __enter__(self) -> GgufFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the maps. Views that were given out keep theirs."""
        self._maps = {}

    def weights(self, name: str) -> QuantizedWeights:
        """A tensor as weights to multiply with; its blocks stay in the file until they are read.

        Parameters
        ----------
        name : str
            The tensor. All its dimensions but the last become rows.

        Returns
        -------
        weights : QuantizedWeights, shape (rows, cols)

        Raises
        ------
        KeyError
            For a name that is not there.
        UnsupportedError
            For a type that products cannot be made with, such as whole numbers and IQ types but IQ4_NL.
        """
        tensor = self.tensors[name]
        if tensor.type not in {of.name for of in formats() if of.ggml_type is not None}:
            raise UnsupportedError(f"tensor {name!r}: its type {tensor.type} is none that lowbit reads")
        cols = tensor.shape[-1] if tensor.shape else 1
        if tensor.nbytes == 0:
            raise InputError(f"tensor {name!r}: it has no values, and its shape is {tensor.shape}")
        return QuantizedWeights(self._bytes(tensor).reshape(-1, self._row_bytes[name]), tensor.type, cols)

    def dequantize(self, name: str) -> np.ndarray:
        """A tensor's values.

        Parameters
        ----------
        name : str

        Returns
        -------
        values : ndarray of float32, of the tensor's shape
        """
        return self.weights(name).dequantize().reshape(self.tensors[name].shape)

    def _bytes(self, tensor: GgufTensor) -> np.ndarray:
        if tensor.nbytes == 0:
            return np.empty(0, dtype=np.uint8)
        mapped = self._maps.get(tensor.file)
        if mapped is None:
            mapped = np.memmap(self.files[tensor.file], dtype=np.uint8, mode="r")
            self._maps[tensor.file] = mapped
        # A view of the plain kind: a slice of a memmap does not know where in the file it begins.
        return np.asarray(mapped)[tensor.offset : tensor.offset + tensor.nbytes]


def write_gguf(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Writes a GGUF file of version 3.

    Parameters
    ----------
    path : path_like
        The file, which appears when it is complete; an older one is replaced.
    tensors : mapping of str to QuantizedWeights or array_like
        In the order in which they are written, of up to 4 dimensions. float32, float16, float64, int8, int16, int32 and int64 stay
        what they are; other numbers become float32.
    metadata : mapping of str to object, optional
        Key-value pairs. A bool, a str (or bytes), a scalar of numpy's and an ndarray of one dimension keep their type; an int becomes
        uint32, or what of int32, uint64 and int64 holds it; a float becomes float32; a list is of texts, or becomes an ndarray.

    Raises
    ------
    InputError
        For a name that is there twice, a format that a GGUF file cannot hold, and metadata of another kind.
    """
    known = {dtype: name for name, dtype in _DTYPES.items()}
    given = []
    for name, tensor in tensors.items():
        if isinstance(tensor, QuantizedWeights):
            rows, cols = tensor.shape
            given.append((str(name), tensor.format, [cols, rows], tensor.blocks.reshape(-1)))
            continue
        array = numbers_of(f"tensor {name!r}", tensor, (0, 1, 2, 3, 4))
        dtype = array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype
        dtype = dtype if dtype in known else _DTYPES["F32"]
        flat = np.ascontiguousarray(array, dtype=dtype).reshape(-1).view(np.uint8)
        given.append((str(name), known[dtype], list(array.shape[::-1]), flat))
    pairs = [(str(key), *_typed(str(key), value)) for key, value in (metadata or {}).items()]
    _lowbit.gguf_write(path_of("path", path), pairs, given)


def _typed(key: str, value: Any) -> tuple[str, Any]:
    """A value of the metadata with the name of its type."""
    if isinstance(value, (bool, np.bool_)):
        return "bool", bool(value)
    if isinstance(value, (str, bytes)):
        return "string", _text(value)
    if isinstance(value, np.generic):
        return _name(key, value.dtype), value.item()
    if isinstance(value, int):
        for name, least, most in (("u32", 0, 1 << 32), ("i32", -(1 << 31), 0), ("u64", 0, 1 << 64), ("i64", -(1 << 63), 0)):
            if least <= value < most:
                return name, value
        raise InputError(f"key {key!r}: {value} is no whole number of 64 bits")
    if isinstance(value, float):
        return "f32", value
    if isinstance(value, (list, tuple)) and value and all(isinstance(of, (str, bytes)) for of in value):
        return "[string]", [_text(of) for of in value]
    if isinstance(value, (list, tuple, np.ndarray)):
        array = np.asarray(value)
        if array.ndim != 1:
            raise InputError(f"key {key!r}: an array of one dimension is expected, and its shape is {array.shape}")
        return f"[{_name(key, array.dtype)}]", array.tolist()
    raise InputError(f"key {key!r}: a {type(value).__name__} is no value that metadata has")


def _text(text: str | bytes) -> list[int]:
    return list(text.encode() if isinstance(text, str) else text)


def _name(key: str, dtype: np.dtype[Any]) -> str:
    if dtype.kind == "b":
        return "bool"
    if dtype.kind in "iuf" and 16 * (dtype.kind == "f") < 8 * dtype.itemsize <= 64:
        return f"{dtype.kind}{8 * dtype.itemsize}"
    raise InputError(f"key {key!r}: {dtype} is no type that metadata has")
