"""What cache types cost in the attention of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import _lowbit
from ._checks import adapter_of, floats, number, texts, whole
from ._records import flat, made
from .errors import InputError

__all__ = [
    "Choice",
    "Decode",
    "Evaluation",
    "Form",
    "FormResult",
    "Quality",
    "Spread",
    "TypeResult",
    "evaluate",
]


@dataclass(frozen=True)
class Spread:
    """Of one number for each query: the mean, what 99 % do not exceed, the largest."""

    mean: float
    p99: float
    max: float


@dataclass(frozen=True)
class Form:
    """What is done to vectors in front of their type: whether keys are centred, and whether q8_0 and q4_0 are rotated."""

    center: bool
    rotate: bool


@dataclass(frozen=True)
class Quality:
    """What a type costs in an attention.

    Attributes
    ----------
    keys_error, values_error : float
        Squared error over the squares.
    logit_error : float
        Root mean square of the errors of logits, less their mean for each query.
    kl : Spread
        Kullback-Leibler divergence of the attention from the true one, in nats.
    cosine : float
        Mean cosine between the outputs.
    output_error : float
        Relative L2 of the outputs of all queries together.
    output : Spread
        Relative L2 of each query's output.
    """

    keys_error: float
    values_error: float
    logit_error: float
    kl: Spread
    cosine: float
    output_error: float
    output: Spread


@dataclass(frozen=True)
class FormResult:
    """A type in one form: why it cannot hold these vectors, or what it costs."""

    center: bool
    rotate: bool
    refused: str | None
    quality: Quality | None = flat()


@dataclass(frozen=True)
class Decode:
    """The attention of one more token over the context: microseconds for all layers and heads, and the share of the read roof."""

    us_per_token: float
    share: float


@dataclass(frozen=True)
class TypeResult:
    """A type, or a pair for keys and values, in its best form.

    Attributes
    ----------
    type : str
        Such as ``"q8_0"``, or ``"q8_0:turbo3"`` for keys and values.
    bits_per_value : float
        Scales included.
    bytes : int
        Of all layers and heads at the context.
    refused : str or None
        Why the type cannot hold these keys and values.
    form : Form or None
    layers : list of Quality
        In each layer.
    forms : list of FormResult
        Every form that was measured.
    decode : Decode or None
        Where a device timed it.
    untimed : str or None
        Why the device has not.
    quality : Quality or None
        Over all queries of all layers and heads; None if it is refused.
    """

    type: str
    bits_per_value: float
    bytes: int
    refused: str | None
    form: Form | None
    layers: list[Quality]
    forms: list[FormResult]
    decode: Decode | None
    untimed: str | None
    quality: Quality | None = flat()


@dataclass(frozen=True)
class Choice:
    """A type in a form."""

    type: str
    form: Form


@dataclass(frozen=True)
class Evaluation:
    """What cache types cost in the attention of a model's queries, keys and values.

    Attributes
    ----------
    layers, heads, kv_heads, tokens, queries, head_dim, value_dim : int
        The shapes of what was given.
    causal : bool
    sinks, window : int
        First and newest tokens that stay float16.
    context : int
        Tokens whose cache is counted.
    max_kl, max_l2 : float or None
        What a recommended type may cost.
    types : list of TypeResult
    recommended : Choice or None
        The smallest type within both limits.
    recommendation : str
        The same in words.
    """

    layers: int
    heads: int
    kv_heads: int
    tokens: int
    queries: int
    head_dim: int
    value_dim: int
    causal: bool
    sinks: int
    window: int
    context: int
    max_kl: float | None
    max_l2: float | None
    types: list[TypeResult]
    recommended: Choice | None
    recommendation: str

    def __getitem__(self, type: str) -> TypeResult:
        for row in self.types:
            if row.type == type:
                return row
        raise KeyError(type)


def evaluate(
    q: Any,
    k: Any,
    v: Any,
    types: Any = None,
    causal: bool = False,
    *,
    window: int = 0,
    sinks: int = 0,
    center: bool = False,
    rotate: bool = False,
    plain: bool = False,
    max_kl: float | None = None,
    max_l2: float | None = None,
    context: int | None = None,
    time: bool = False,
    adapter: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Measures what each cache type costs in an attention: in float64, by the definition, on the host.

    Parameters
    ----------
    q : array_like, shape (heads, queries, head_dim) or (layers, heads, queries, head_dim)
        Queries. Fewer of them than tokens are those of the newest positions.
    k : array_like, shape ([layers,] kv_heads, tokens, head_dim)
        Keys as they are cached, after rotary embeddings. Fewer heads than queries have is grouped-query attention.
    v : array_like, shape ([layers,] kv_heads, tokens, value_dim)
        Values.
    types : str or sequence of str, optional
        Such as ``["q8_0", "q8_0:turbo3"]``, keys:values; all and a few pairs if not given.
    causal : bool, default=False
        A token sees itself and those before it; without this each query sees all.
    window, sinks : int, default=0
        So many newest, and first, tokens stay float16.
    center, rotate, plain : bool, default=False
        One form for every type: centred keys, rotated q8_0 and q4_0, or neither. Without these each type is in its best form.
    max_kl : float, optional
        The divergence that a recommended type may have, in nats, in the mean. Without this and `max_l2` both have a limit,
        0.01 and 0.1.
    max_l2 : float, optional
        The relative L2 of its outputs.
    context : int, optional
        Tokens whose cache is counted; those of `k` if not given.
    time : bool, default=False
        Whether a device times decode steps.
    adapter : str, optional
        The adapter that times.
    progress : callable, optional
        Called with what is being done, in words.

    Returns
    -------
    evaluation : Evaluation
    """
    if plain and (center or rotate):
        raise InputError("plain is neither centred nor rotated: leave center and rotate out")
    settings = {
        "types": texts("types", types),
        "causal": bool(causal),
        "sinks": whole("sinks", sinks),
        "window": whole("window", window),
        "form": (bool(center), bool(rotate)) if plain or center or rotate else None,
        "max_kl": None if max_kl is None else number("max_kl", max_kl),
        "max_l2": None if max_l2 is None else number("max_l2", max_l2),
        "context": None if context is None else whole("context", context, 1),
        "time": bool(time),
        "adapter": adapter_of(adapter),
    }
    queries, keys, values = floats("q", q, 3, 4), floats("k", k, 3, 4), floats("v", v, 3, 4)
    return made(Evaluation, _lowbit.kv_evaluate(queries, keys, values, settings, progress))
