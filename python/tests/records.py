"""Comparing dataclasses with the command line's JSON."""

from __future__ import annotations

import dataclasses
from typing import Any


def equal(found: Any, said: Any, but: tuple[str, ...] = (), place: str = "") -> None:
    """Asserts that every field of `found` is what `said` has under its key, to the last bit."""
    if dataclasses.is_dataclass(found):
        for of in dataclasses.fields(found):
            value = getattr(found, of.name)
            if of.name in but:
                continue
            if of.metadata.get("flat"):
                if value is not None:
                    equal(value, said, but, f"{place}.{of.name}")
                continue
            equal(value, said.get(of.metadata.get("key", of.name)), but, f"{place}.{of.name}")
    elif isinstance(found, (list, tuple)):
        assert len(found) == len(said), place
        for at, (one, other) in enumerate(zip(found, said)):
            equal(one, other, but, f"{place}[{at}]")
    else:
        assert found == said, (place, found, said)
