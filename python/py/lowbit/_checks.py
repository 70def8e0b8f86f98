"""What functions are given, checked before the library has it."""

from __future__ import annotations

import numbers
import operator
import os
from typing import Any

import numpy as np

from ._arrays import as_array, as_float32, to_float32
from .errors import InputError, NotFiniteError

__all__ = ["COUNT", "adapter_of", "choice", "floats", "number", "numbers_of", "path_of", "seed_of", "settings_of", "texts", "weights_of", "whole"]

# The most that the library counts of iterations and starts.
COUNT = (1 << 32) - 1


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
    return to_float32(name, numbers_of(name, x, ndim))


def whole(name: str, value: Any, least: int = 0, most: int = (1 << 63) - 1) -> int:
    """`value` as a whole number of at least `least` and at most `most`."""
    if isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} is {value!r}: expected a whole number of at least {least}")
    try:
        found = operator.index(value)
    except TypeError:
        raise InputError(f"{name} is {value!r}: expected a whole number of at least {least}") from None
    if found < least:
        raise InputError(f"{name} is {found}: expected a whole number of at least {least}")
    if found > most:
        raise InputError(f"{name} is {found}: expected a whole number of at most {most}")
    return found


def number(name: str, value: Any, least: float | None = None) -> float:
    """`value` as a float that is a number; finite and of at least `least` if that is given."""
    found = np.nan
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)):
        try:
            found = float(value)
        except OverflowError:
            raise InputError(f"{name} is {value!r}: expected a number that a float64 holds") from None
    if np.isnan(found):
        raise InputError(f"{name} is {value!r}: expected a number")
    if least is not None and not least <= found < np.inf:
        raise InputError(f"{name} is {value!r}: expected a finite number of at least {least:g}")
    return found


def choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """`value`, which has to be one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} is {value!r}: expected one of {', '.join(map(repr, choices))}")
    return str(value)


# How first centroids can be chosen.
INITS = ("k-means++", "k-means||", "bisecting", "two-level", "random")


def path_of(name: str, value: Any) -> str:
    """`value` as a path: a text, bytes or a path_like."""
    try:
        return os.fsdecode(value)
    except TypeError:
        raise InputError(f"{name} is {value!r}: expected a path") from None


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
    """The seed of lowbit's own generator: a whole number is itself, so that the command line's --seed gives the same; None and
    numpy's generators draw one."""
    if value is None:
        return int(np.random.default_rng().integers(1 << 63))
    if isinstance(value, np.random.RandomState):
        return int(value.randint(0, 1 << 31))
    if isinstance(value, np.random.Generator):
        return int(value.integers(1 << 63))
    try:
        return whole(name, value, 0, (1 << 64) - 1)
    except InputError as error:
        raise InputError(f"{error}, None, a RandomState or a Generator") from None


def weights_of(sample_weight: Any, count: int) -> np.ndarray | None:
    """Weights of `count` points: None is none, a number that of each."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, numbers.Real):
        weights = np.full(count, number("sample_weight", sample_weight), dtype=np.float32)
    else:
        weights = as_float32(sample_weight, "sample_weight")
    if weights.ndim != 1:
        raise InputError("Sample weights must be 1D array or scalar")
    if weights.shape != (count,):
        raise InputError(f"sample_weight.shape == {weights.shape}, expected {(count,)}!")
    for fine, kind in ((np.isfinite(weights), NotFiniteError), (weights >= 0, InputError)):
        if not fine.all():
            bad = int(fine.argmin())
            raise kind(f"sample_weight: weight {bad} is {weights[bad]}: expected a finite number of at least 0")
    if not weights.any():
        raise InputError("Sample weights are zero for all points: at least n_clusters of them must be above.")
    return weights


def adapter_of(value: Any) -> str | None:
    """The name of an adapter, or None for the one that lowbit takes by itself."""
    if value is None or (isinstance(value, str) and value):
        return value
    raise InputError(f"adapter is {value!r}: expected a part of an adapter's name, or None")


def settings_of(k: int, metric: Any, memory: Any, adapter: Any, **others: Any) -> dict[str, Any]:
    """The settings that k-means of the library has: `memory` is in MiB, and what only a fit asks for does nothing if not given."""
    return {
        "k": k,
        "init": "random",
        "frozen": None,
        "metric": choice("metric", metric, ("euclidean", "cosine", "dot")),
        "empty": "farthest",
        "balanced": False,
        "n_init": 1,
        "seed": 0,
        "max_iter": 1,
        "tol": 0.0,
        "memory": None if memory is None else whole("memory", memory, 1, (1 << 44) - 1) << 20,
        "adapter": adapter_of(adapter),
        **others,
    }
