"""The adapters of this machine."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from . import _lowbit


@dataclass(frozen=True)
class Device:
    """An adapter, as its driver describes it."""

    name: str
    backend: str
    kind: str
    driver: str
    max_buffer_bytes: int
    max_binding_bytes: int
    max_workgroup_invocations: int
    max_workgroup_bytes: int
    subgroup_size: tuple[int, int] | None
    shader_f16: bool
    shader_int64: bool
    timestamps: bool
    cooperative_matrix: list[str]

    @classmethod
    def of(cls, report: dict[str, Any]) -> Device:
        """From the library's report, which may say more."""
        sizes = report["subgroup_size"]
        known = {field.name: report[field.name] for field in fields(cls)}
        return cls(**{**known, "subgroup_size": None if sizes is None else tuple(sizes)})


def devices() -> list[Device]:
    """The adapters of this machine, those first that lowbit takes by itself.

    Returns
    -------
    devices : list of Device
    """
    return [Device.of(report) for report in _lowbit.devices()]
