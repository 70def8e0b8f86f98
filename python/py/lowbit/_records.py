"""Dataclasses of what the library reports.

A report is a dict with the keys that the command line's JSON has. A field takes the key of its own name, or the one that its
metadata has as ``key``; keys without a field are left out, since the library may say more than a version of the package knows.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, field, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import Fault

T = TypeVar("T")

__all__ = ["flat", "keyed", "made"]


def keyed(key: str) -> Any:
    """A field that has another name than its key."""
    return field(metadata={"key": key})


def flat() -> Any:
    """A field whose parts lie in the report beside the others."""
    return field(metadata={"flat": True})


def made(cls: type[T], report: Mapping[str, Any], **more: Any) -> T:
    """An instance of a dataclass from a report, and from fields that are in none.

    Raises
    ------
    Fault
        If the report has no key for a field that cannot be None.
    """
    hints = get_type_hints(cls)
    values: dict[str, Any] = dict(more)
    for of in fields(cls):  # type: ignore[arg-type]
        if of.name in values:
            continue
        if of.metadata.get("flat"):
            values[of.name] = _flat(hints[of.name], report)
            continue
        key = of.metadata.get("key", of.name)
        if key in report:
            values[of.name] = _value(hints[of.name], report[key])
        elif of.default is MISSING and of.default_factory is MISSING:
            # What is null may be left out.
            if not _nullable(hints[of.name]):
                raise Fault(f"a fault of lowbit, please report it: what became {cls.__name__} has no {key!r}")
            values[of.name] = None
    return cls(**values)


def _flat(hint: Any, report: Mapping[str, Any]) -> Any:
    """A part whose keys lie among the others; None where none of them is there."""
    inner = next(of for of in (hint, *get_args(hint)) if is_dataclass(of))
    keys = [of.metadata.get("key", of.name) for of in fields(inner)]
    return _value(inner, report) if any(key in report for key in keys) or not _nullable(hint) else None


def _nullable(hint: Any) -> bool:
    return hint is Any or (get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint))


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        inner = [of for of in get_args(hint) if of is not type(None)]
        return _value(inner[0], value)
    if origin is list:
        return [_value(get_args(hint)[0], of) for of in value]
    if origin is tuple:
        return tuple(value)
    if isinstance(hint, type) and is_dataclass(hint):
        return made(hint, value)
    return value
