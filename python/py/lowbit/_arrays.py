"""Arrays of others as lowbit takes them.

One rule: float32, float16, uint8 and int8 stay what they are, and go in without a copy if they are C-contiguous and of the
machine's byte order; every other kind of number becomes float32. Complex numbers and sparse matrices are refused. Objects are
as well, except by the estimators: scikit-learn's checks of estimators ask for those that are numbers to be taken.

Memory maps are read as files on Linux and Windows. On macOS, where a process cannot ask which file is mapped at an address, they
are read as memory: the result is the same, but pages of the map count as memory of the process.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import _lowbit
from .errors import InputError, NotFiniteError

# What a device has as it is.
KEPT = (np.float32, np.float16, np.uint8, np.int8)
# Values of points that are compared with their centroids at a time.
_PIECE = 1 << 22


def as_array(x: Any) -> np.ndarray:
    """`x` as a numpy array: whatever has ``__array__``, or ``__dlpack__`` with memory of the host."""
    refuse_masked(x)
    if isinstance(x, np.ndarray) or hasattr(x, "__array__"):
        return np.asarray(x)
    if hasattr(x, "__dlpack__"):
        return np.from_dlpack(x)
    return np.asarray(x)


def refuse_masked(x: Any) -> None:
    """What a mask hides is no value, and would be taken for one."""
    if isinstance(x, np.ma.MaskedArray):
        raise InputError("masked arrays are not supported: fill them, or leave masked rows out")


def refuse_kind(name: str, dtype: Any) -> None:
    """Refuses what numpy would make numbers of that it does not mean: texts, bytes, times and records."""
    if getattr(dtype, "kind", "f") in "mMSUV":
        raise InputError(f"{name}: numbers are expected, and not {dtype}")


def to_float32(name: str, given: np.ndarray) -> np.ndarray:
    """`given` as C-contiguous float32, without a copy where it is that; numbers beyond are refused."""
    with np.errstate(over="ignore"):
        taken = laid(given, np.float32)
    refuse_beyond(name, given, taken)
    return taken


def refuse_beyond(name: str, given: Any, taken: np.ndarray) -> None:
    """Refuses numbers that became infinite when `given` became float32: infinite ones are refused where they are read."""
    if taken.dtype != np.float32 or getattr(given, "dtype", None) in KEPT:
        return
    infinite = np.isinf(taken)
    if not infinite.any():
        return
    before = np.asarray(given, dtype=np.float64).reshape(taken.shape)
    beyond = np.argwhere(infinite & np.isfinite(before))
    if len(beyond):
        at = tuple(int(i) for i in beyond[0])
        where = f"row {at[0]}, value {at[1]}" if len(at) == 2 else f"value {list(at)}"
        most = np.finfo(np.float32).max
        raise NotFiniteError(f"{name}: {where} is {before[at]:g}, and float32 holds numbers up to {most:g}: scale them")


def laid(x: np.ndarray, dtype: Any) -> np.ndarray:
    """`x` C-contiguous, aligned and of this type: without a copy where it is."""
    return np.require(x, dtype=dtype, requirements=["C", "A"])


def as_kept(x: np.ndarray) -> np.ndarray:
    """`x` as the library takes it, of one of the types of :data:`KEPT`: without a copy where it is."""
    dtype = x.dtype if x.dtype.newbyteorder("=") in KEPT else np.dtype(np.float32)
    return laid(x, dtype.newbyteorder("="))


def as_float32(x: Any, name: str = "x") -> np.ndarray:
    """Numbers as C-contiguous float32."""
    array = as_array(x)
    refuse_kind(name, array.dtype)
    if array.dtype.kind == "c":
        raise InputError(f"{name}: complex data is not supported")
    return to_float32(name, array)


def with_nearest(x: np.ndarray, centers: np.ndarray, labels: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Some rows of `x` at a time: which they are, they as the library has them, and their centroids, both in double precision."""
    step = max(1, _PIECE // x.shape[1])
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        yield rows, as_float32(x[rows]).astype(np.float64), centers[labels[rows]].astype(np.float64)


def rows_of(x: np.ndarray) -> Any:
    """What the library takes for the matrix `x`: itself, or the file that it is a map of.

    The pages of a memory map count as memory of the process as long as they are mapped and there is room; read as a file, they
    do not.
    """
    x = as_kept(x)
    at = _file_of(x)
    if at is None:
        return x
    path, offset = at
    return _lowbit.FileRows(path, offset, x.shape[0], x.shape[1], x.dtype.name)


def _file_of(x: np.ndarray) -> tuple[str, int] | None:
    """The file that C-contiguous `x` maps, and where in it `x` begins; none if it is no map, or may differ from the file."""
    base: Any = x
    mapped = None
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            mapped = base
        base = base.base
    # What was changed in a copy-on-write map is not in the file.
    if mapped is None or not isinstance(base, mmap.mmap) or mapped.filename is None or mapped.mode == "c":
        return None
    path, begins = str(mapped.filename), _address(np.frombuffer(base, dtype=np.uint8))
    if not _is_mapped(path, base, begins):
        return None
    # On Linux a file's pages are those of its maps, so that what is read is what was written to them.
    if mapped.mode != "r" and sys.platform != "linux":
        mapped.flush()
    # A view keeps the offset of the array that it was made of, so the address in the mapping counts.
    offset = int(mapped.offset) - int(mapped.offset) % mmap.ALLOCATIONGRANULARITY
    return path, offset + _address(x) - begins


def _is_mapped(path: str, mapping: mmap.mmap, address: int) -> bool:
    """Whether the file that is now at `path` is surely the one that is mapped at `address`: it may have been replaced since."""
    try:
        found = os.stat(path)
        if found.st_size != mapping.size():
            return False
        # Windows keeps a file that is mapped from being replaced.
        if os.name == "nt":
            return True
        with open("/proc/self/maps") as maps:
            for line in maps:
                addresses, _, _, _, inode, *_ = line.split(maxsplit=5)
                first, end = (int(text, 16) for text in addresses.split("-"))
                if first <= address < end:
                    # Not the device, which file systems in layers (overlayfs) give differently here.
                    return int(inode) == found.st_ino
    except (OSError, ValueError):
        pass
    return False


def _address(x: np.ndarray) -> int:
    return int(x.__array_interface__["data"][0])
