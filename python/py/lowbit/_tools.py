"""The roofs of an adapter, and which format to run a model in."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

from . import _lowbit
from ._checks import adapter_of, choice, number, path_of, texts, whole
from ._plans import Plan, Roofs
from ._records import made
from .errors import InputError

__all__ = ["plan", "roofline"]


def roofline(
    effort: str = "quick",
    *,
    peak_gbs: float | None = None,
    sweep: bool = True,
    adapter: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Roofs:
    """Measures what an adapter's memory and arithmetic really give.

    Parameters
    ----------
    effort : {"quick", "full"}, default="quick"
        One round, or several some time apart.
    peak_gbs : float, optional
        The datasheet's memory bandwidth in GB/s: a roof above it is not valid.
    sweep : bool, default=True
        Whether copies of growing size are measured, which show the caches.
    adapter : str, optional
        A part of the name of the adapter.
    progress : callable, optional
        Called with what is being measured, in words.

    Returns
    -------
    roofs : Roofs
    """
    choice("effort", effort, ("quick", "full"))
    peak = None if peak_gbs is None else _above_zero("peak_gbs", peak_gbs)
    return made(Roofs, _lowbit.roofline(effort, peak, bool(sweep), adapter_of(adapter), progress))


def plan(
    model: str | os.PathLike[str] | None = None,
    context: int | None = None,
    *,
    layers: Any = None,
    kv: Any = None,
    residual: int = 0,
    bandwidth: float | str | None = None,
    against: str | os.PathLike[str] | None = None,
    weights: Any = None,
    parameters: int | None = None,
    vram: float | None = None,
    effort: str = "full",
    adapter: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Plan:
    """Which number format and which KV cache to run a model with.

    Parameters
    ----------
    model : path_like, optional
        A .gguf file, whose products are measured in each format; or a config.json, whose cache alone is planned, without a device;
        or a folder with a config.json and .safetensors files, whose weights count too.
    context : int, optional
        Count the KV cache of so many tokens.
    layers : str or sequence of str, optional
        The layers of the cache in place of what the file says, such as ``["10x16x128", "52x16x128@1024"]``: count x kv heads x head
        dimension @ window; ``"61x512+64"`` for latents of 512 and rope keys of 64.
    kv : str or sequence of str, optional
        Types of the cache, such as ``["f16", "q8_0:turbo3"]``; the usual ones if not given.
    residual : int, default=0
        Tokens that stay float16 in each layer.
    bandwidth : float or "measure", optional
        Read the cache at so many GB/s, or at what is measured now, as for a .gguf file.
    against : path_like, optional
        A model whose cache is compared.
    weights : str or sequence of str, optional
        Formats of the weights, such as ``["Q8_0", "Q4_K"]``; one of them but for a .gguf file.
    parameters : int, optional
        How many weights the model has, where the file does not say.
    vram : float, optional
        The memory in GB, of 10^9 bytes.
    effort : {"quick", "full"}, default="full"
        With ``"quick"`` one shape is measured in each format.
    adapter : str, optional
        A part of the name of the adapter.
    progress : callable, optional
        Called with what is being measured, in words.

    Returns
    -------
    plan : Plan
    """
    if context is None and any(of is not None for of in (layers, kv, bandwidth, against)):
        raise InputError("context: layers, kv, bandwidth and against are of a cache, which takes a number of tokens")
    if isinstance(bandwidth, str):
        choice("bandwidth", bandwidth, ("measure",))
    choice("effort", effort, ("quick", "full"))
    settings = {
        "file": None if model is None else path_of("model", model),
        "context": None if context is None else whole("context", context, 1),
        "layers": texts("layers", layers),
        "kv": texts("kv", kv),
        "residual": whole("residual", residual),
        "bandwidth": None if bandwidth is None or isinstance(bandwidth, str) else _above_zero("bandwidth", bandwidth),
        "measure_bandwidth": isinstance(bandwidth, str),
        "against": None if against is None else path_of("against", against),
        "weights": texts("weights", weights),
        "parameters": None if parameters is None else whole("parameters", parameters, 1),
        "vram": None if vram is None else _above_zero("vram", vram),
        "effort": effort,
        "adapter": adapter_of(adapter),
    }
    return made(Plan, _lowbit.plan(settings, progress))


def _above_zero(name: str, value: Any) -> float:
    found = number(name, value)
    if not 0 < found < math.inf:
        raise InputError(f"{name} is {value!r}: expected a number above 0")
    return found
