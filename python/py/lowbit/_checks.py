"""What functions are given, checked before the library has it."""

from __future__ import annotations

import numbers
import operator
from typing import Any

import numpy as np

from ._arrays import as_array
from .errors import InputError

__all__ = ["adapter_of", "choice", "floats", "number", "numbers_of", "seed_of", "texts", "whole"]


def numbers_of(name: str, x: Any, ndim: tuple[int, ...]) -> np.ndarray:
    """`x` as an array of real numbers with one of these numbers of dimensions."""
    if hasattr(x, "toarray"):
        raise InputError(f"{name}: sparse data was passed, but dense data is required: use .toarray()")
    try:
        array = as_array(x)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None
    if array.dtype.kind == "c":
        raise InputError(f"{name}: complex data is not supported")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name}: numbers are expected, and not {array.dtype}")
    if array.ndim not in ndim:
        expected = " or ".join(f"{n}" for n in ndim)
        raise InputError(f"{name}: an array of {expected} dimensions is expected, and its shape is {array.shape}")
    if array.size == 0:
        raise InputError(f"{name}: it has no values, and its shape is {array.shape}")
    return array


def floats(name: str, x: Any, *ndim: int) -> np.ndarray:
    """`x` as C-contiguous float32 with one of these numbers of dimensions; without a copy where it is that."""
    # What is too large for float32 becomes infinite, and is refused as such by the library.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(numbers_of(name, x, ndim), dtype=np.float32)


def whole(name: str, value: Any, least: int = 0) -> int:
    """`value` as a whole number of at least `least`."""
    if isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} is {value!r}: expected a whole number of at least {least}")
    try:
        found = operator.index(value)
    except TypeError:
        raise InputError(f"{name} is {value!r}: expected a whole number of at least {least}") from None
    if not least <= found < 1 << 63:
        raise InputError(f"{name} is {found}: expected a whole number of at least {least}")
    return found


def number(name: str, value: Any) -> float:
    """`value` as a float that is a number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real) or np.isnan(float(value)):
        raise InputError(f"{name} is {value!r}: expected a number")
    return float(value)


def choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """`value`, which has to be one of `choices`."""
    if value not in choices:
        raise InputError(f"{name} is {value!r}: expected one of {', '.join(map(repr, choices))}")
    return str(value)


def texts(name: str, value: Any) -> list[str]:
    """`value` as a list of texts: a text is a list of one, None is none."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    try:
        found = list(value)
    except TypeError:
        raise InputError(f"{name} is {value!r}: expected a text or several") from None
    if not all(isinstance(text, str) for text in found):
        raise InputError(f"{name} is {value!r}: expected texts")
    return found


def seed_of(name: str, value: Any) -> int:
    """`value` as the seed of lowbit's own generator; None draws one."""
    if value is None:
        return int(np.random.default_rng().integers(1 << 63))
    return whole(name, value)


def adapter_of(value: Any) -> str | None:
    """The name of an adapter, or None for the one that lowbit takes by itself."""
    if value is None or isinstance(value, str):
        return value
    raise InputError(f"adapter is {value!r}: expected a part of an adapter's name, or None")
