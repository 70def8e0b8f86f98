"""What was measured of an adapter, and plans for models."""

from __future__ import annotations

from dataclasses import dataclass

from ._devices import Device

__all__ = [
    "CacheCost",
    "CachePlan",
    "Context",
    "ContextCost",
    "FormatPlan",
    "Launch",
    "LaunchPoint",
    "Layers",
    "Matrices",
    "Model",
    "ModelWeights",
    "Plan",
    "Product",
    "Roof",
    "Roofs",
    "SweepPoint",
    "Trial",
]


@dataclass(frozen=True)
class Roof:
    """The best rate of a kernel on an adapter.

    Attributes
    ----------
    value, low, high : float
        The best round's rate at its median time; rates at the 90th and the 10th percentile of times. In `unit`.
    unit : str
        ``"GB/s"``, ``"GFLOP/s"`` or ``"GOP/s"``, of 10^9.
    formula, variant : str
    us : float
        Median time of a run, in microseconds.
    samples : int
    timestamps : bool
        Whether the GPU's own clock was used.
    valid : bool
        False for a rate above what the datasheet allows.
    note : str or None
    """

    value: float
    low: float
    high: float
    unit: str
    formula: str
    variant: str
    us: float
    samples: int
    timestamps: bool
    valid: bool
    note: str | None


@dataclass(frozen=True)
class LaunchPoint:
    """A small write: bytes, and microseconds of one dispatch."""

    bytes: int
    us: float


@dataclass(frozen=True)
class Launch:
    """What it costs to start work: microseconds of a dispatch, the slope in GB/s, microseconds of a round trip."""

    us: float | None
    gb_s: float | None
    round_trip_us: float
    points: list[LaunchPoint]


@dataclass(frozen=True)
class SweepPoint:
    """A copy between the same two buffers: bytes copied, microseconds, GB/s with reads and writes counted."""

    bytes: int
    us: float
    gb_s: float


@dataclass(frozen=True)
class Roofs:
    """The measured roofs of an adapter; None where it lacks one.

    Attributes
    ----------
    adapter : Device
    version : str
    commit : str or None
    buffer_bytes : int
    copy, read, write : Roof
        Of memory, in GB/s.
    fma_f32 : Roof
        In GFLOP/s; a multiply-add is two operations.
    fma_f16, dot_i8 : Roof or None
    launch : Launch
    sweep : list of SweepPoint
    peak_gbs : float or None
        The datasheet's bandwidth in GB/s, if it was given.
    """

    adapter: Device
    version: str
    commit: str | None
    buffer_bytes: int
    copy: Roof
    read: Roof
    write: Roof
    fma_f32: Roof
    fma_f16: Roof | None
    dot_i8: Roof | None
    launch: Launch
    sweep: list[SweepPoint]
    peak_gbs: float | None


@dataclass(frozen=True)
class Layers:
    """Equal layers of a model, as far as its cache depends on them.

    Attributes
    ----------
    count : int
    attention : {"none", "heads", "latent"}
    window : int or None
        The newest tokens that they see.
    shared : bool
        Whether they read the keys and values of another layer.
    kv_heads, key_dim, value_dim : int or None
        Of heads.
    rank, rope_dim : int or None
        Of latents.
    """

    count: int
    attention: str
    window: int | None
    shared: bool
    kv_heads: int | None
    key_dim: int | None
    value_dim: int | None
    rank: int | None
    rope_dim: int | None


@dataclass(frozen=True)
class CacheCost:
    """A KV cache in one type: bytes at the context, and the longest context that fits."""

    type: str
    bits_per_value: float
    bytes: int
    of_f16: float
    against_bytes: int | None
    longest_context: int | None
    fits: bool | None


@dataclass(frozen=True)
class ContextCost:
    """A cache of one context in one type: bytes, bytes that a token reads, and tokens a second at most."""

    type: str
    bytes: int
    read_bytes: int
    tokens_per_s: float | None


@dataclass(frozen=True)
class Context:
    """The cache of one context, in each type."""

    tokens: int
    types: list[ContextCost]


@dataclass(frozen=True)
class ModelWeights:
    """The weights beside a cache: their format, bytes, and milliseconds of a token's products where they were measured."""

    format: str
    bytes: int
    ms_per_token: float | None


@dataclass(frozen=True)
class CachePlan:
    """A model's KV cache in several types.

    Attributes
    ----------
    kind : str
        What the file calls the model's kind.
    layers : list of Layers
    values_per_token : int
    context, residual : int
        Tokens, and those of each layer that stay float16.
    vram_gb, bandwidth_gb_s : float or None
        In units of 10^9 bytes.
    weights : ModelWeights or None
    against : str or None
        What the cache is compared with.
    types : list of CacheCost
    contexts : list of Context
        Growing ones, up to that asked for.
    not_counted : list of str
    """

    kind: str
    layers: list[Layers]
    values_per_token: int
    context: int
    residual: int
    vram_gb: float | None
    bandwidth_gb_s: float | None
    weights: ModelWeights | None
    against: str | None
    types: list[CacheCost]
    contexts: list[Context]
    not_counted: list[str]


@dataclass(frozen=True)
class Matrices:
    """Matrices of one shape and type: how many there are, how many a token is multiplied with, whether quantizers keep them."""

    rows: int
    cols: int
    type: str
    count: int
    per_token: int
    kept: bool


@dataclass(frozen=True)
class Model:
    """The tensors of a model, as far as sizes and times depend on them."""

    weights: int
    matrices: list[Matrices]
    vector_bytes: int


@dataclass(frozen=True)
class Trial:
    """A product that was timed: format, shape, variant, median time in microseconds."""

    format: str
    rows: int
    cols: int
    variant: str
    us: float


@dataclass(frozen=True)
class Product:
    """The products with the matrices of one shape and type: microseconds of one, GB/s, and what was timed for it."""

    rows: int
    cols: int
    type: str
    count: int
    per_token: int
    kept: bool
    us: float
    gb_s: float
    measured: bool
    trial: Trial


@dataclass(frozen=True)
class FormatPlan:
    """A model in one format.

    Attributes
    ----------
    format : str
    others : list of str
        Formats of matrices that cannot have it, or keep theirs.
    bytes : int
        Of all tensors.
    bits_per_weight : float
    read_bytes : int
        Of tensors that a token reads.
    ms_per_token, tokens_per_s : float
        By the products alone.
    memory_bytes : int
        Of tensors and KV cache.
    fits : bool or None
    products : list of Product
    """

    format: str
    others: list[str]
    bytes: int
    bits_per_weight: float
    read_bytes: int
    ms_per_token: float
    tokens_per_s: float
    memory_bytes: int
    fits: bool | None
    products: list[Product]


@dataclass(frozen=True)
class Plan:
    """Which format and which cache to run a model with.

    Attributes
    ----------
    adapter : Device or None
        What was measured; None if nothing was.
    context : int or None
    vram_gb : float or None
    cache : CachePlan or None
    model : Model or None
        Of a GGUF file, as everything that follows.
    kv_bytes : int or None
        Bytes of the cache in the first of its types.
    head_room : float or None
        Memory that must be left, in shares of what weights and cache take.
    formats : list of FormatPlan or None
    recommended, fastest : str or None
    advice : str or None
        Both in words.
    not_counted : list of str
        What the numbers leave out.
    notices : list of str
        What must be known before trusting a number.
    """

    adapter: Device | None
    context: int | None
    vram_gb: float | None
    cache: CachePlan | None
    model: Model | None
    kv_bytes: int | None
    head_room: float | None
    formats: list[FormatPlan] | None
    recommended: str | None
    fastest: str | None
    advice: str | None
    not_counted: list[str]
    notices: list[str]
