"""The adapters of this machine."""

from __future__ import annotations

from dataclasses import dataclass

from . import _lowbit
from ._records import made


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


def devices() -> list[Device]:
    """The adapters of this machine, those first that lowbit takes by itself.

    Returns
    -------
    devices : list of Device
    """
    return [made(Device, report) for report in _lowbit.devices()]
