"""KV caches in few bits: what a type costs, and a cache on a device."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from . import _lowbit
from ._checks import adapter_of, floats, number, path_of, whole
from ._evaluation import Choice, Decode, Evaluation, Form, FormResult, Quality, Spread, TypeResult, evaluate
from .errors import InputError

__all__ = [
    "Cache",
    "Choice",
    "Decode",
    "Evaluation",
    "Form",
    "FormResult",
    "Memory",
    "Quality",
    "Sequence",
    "Spread",
    "Step",
    "TypeResult",
    "evaluate",
]

# Tokens that a query sees where no window is given.
_ALL = (1 << 32) - 1

Sequence = _lowbit.Sequence


@dataclass(frozen=True)
class Memory:
    """Bytes of a cache on the device, reserved and in use, and its blocks."""

    reserved: int
    in_use: int
    blocks: int
    free_blocks: int


class Step:
    """New tokens of sequences, layer by layer; made by :meth:`Cache.step`, and used in a ``with`` statement.

    Where the body ends, by an exception too, before every layer was appended to, the step is taken back; so is one that nothing
    refers to any more, when the cache is next used. Once every layer was appended to, its tokens are there, whatever the body raises.
    """

    def __init__(self, cache: Cache, grow: Mapping[Sequence, int]) -> None:
        self._cache = cache
        self._counts = [whole("tokens", count) for count in grow.values()]
        self._step = cache._cache.begin(list(zip(grow, self._counts)))
        self._left = set(range(cache.layers)) if self.tokens else set()

    @property
    def tokens(self) -> int:
        """New tokens of all sequences together."""
        return sum(self._counts)

    def append(self, layer: int, keys: Any, values: Any) -> None:
        """Appends the new tokens of a layer.

        Parameters
        ----------
        layer : int
        keys, values : array_like, shape (tokens, kv_heads, head_dim)
            Of the sequences one behind another; rounded to float16. Of latents, rope keys of shape (tokens, 1, rope) and latents
            of shape (tokens, 1, head_dim).
        """
        cache = self._cache
        of = []
        for name, x, dim in (("keys", keys, cache.rope or cache.head_dim), ("values", values, cache.head_dim)):
            array = floats(name, x, 3)
            expected = (self.tokens, cache.kv_heads, dim)
            if array.shape != expected:
                raise InputError(f"{name}: the shape is {array.shape}, and {expected} is expected: tokens, kv heads, channels")
            of.append(array)
        layer = whole("layer", layer)
        cache._cache.append(self._step, layer, *of)
        self._left.discard(layer)

    def attend(
        self,
        layer: int,
        queries: Any,
        *,
        every: bool = False,
        scale: float | None = None,
        soft_cap: float = 0.0,
        window: int | None = None,
        sinks: int = 0,
    ) -> np.ndarray:
        """``softmax(scale * q @ k.T) @ v`` over all tokens of each sequence.

        Parameters
        ----------
        layer : int
            A layer that was appended to in this step.
        queries : array_like, shape (sequences, heads, head_dim), or (tokens, heads, head_dim) with `every`
            Of the newest token of each sequence. Of latents with `rope` more channels.
        every : bool, default=False
            Whether every new token asks, each of which sees itself and those before it.
        scale : float, optional
            1 / sqrt(channels of a query) if not given.
        soft_cap : float, default=0
            Logits become ``cap * tanh(logit / cap)``; none at 0.
        window : int, optional
            Only so many of the newest tokens are seen.
        sinks : int, default=0
            And so many first ones, whatever the window.

        Returns
        -------
        output : ndarray of float32, shape (queries, heads, head_dim)
        """
        cache = self._cache
        array = floats("queries", queries, 3)
        count = self.tokens if every else len(self._counts)
        dim = cache.head_dim + (cache.rope or 0)
        if array.shape != (count, cache.heads, dim):
            raise InputError(f"queries: the shape is {array.shape}, and {(count, cache.heads, dim)} is expected")
        rule = (
            1.0 / math.sqrt(dim) if scale is None else number("scale", scale),
            number("soft_cap", soft_cap),
            _ALL if window is None else min(whole("window", window, 1), _ALL),
            min(whole("sinks", sinks), _ALL),
        )
        output = cache._cache.attend(self._step, whole("layer", layer), array, rule, bool(every))
        result: np.ndarray = output.reshape(count, cache.heads, cache.head_dim)
        return result

    def abandon(self) -> list[Sequence]:
        """Takes the step back, unless every layer was appended to.

        Returns
        -------
        emptied : list of Sequence
            Those that could not be taken back to where they were, and are empty now.
        """
        emptied: list[Sequence] = self._cache._cache.abandon(self._step)
        self._left = set()
        return emptied

    def __enter__(self) -> Step:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self._left:
            return
        left = sorted(self._left)
        self.abandon()
        if kind is None:
            raise InputError(f"the step was taken back: layers {left} were not appended to")


class Cache:
    """A KV cache in few bits, in blocks, on a device.

    Parameters
    ----------
    layers : int
    heads : int
        Query heads, a multiple of `kv_heads`.
    kv_heads : int
    head_dim : int
        32, 64, 80, 96, 128 or 256; of latents their rank, 256 or 512.
    types : str, default="q8_0"
        The type of keys and values, or of each: ``"q8_0:q4_0"``.
    tokens : int
        Room for so many tokens of all sequences.
    sequences : int, default=1
        Room for so many sequences.
    block : int, default=64
        Tokens of a block.
    sinks, recent : int, default=4 and 64
        First and newest tokens of a sequence that stay float16.
    rotate : bool, default=False
        Whether q8_0 and q4_0 are rotated.
    rope : int, optional
        Multi-head latent attention: values are latents, and keys are rope keys of so many channels.
    adapter : str, optional
        A part of the name of the adapter.

    Examples
    --------
    >>> cache = lowbit.kv.Cache(layers=1, heads=4, kv_heads=2, head_dim=64, types="q8_0:q4_0", tokens=1024)
    >>> sequence = cache.create()
    >>> with cache.step({sequence: 100}) as step:
    ...     step.append(0, keys, values)
    ...     output = step.attend(0, queries)
    """

    def __init__(
        self,
        layers: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        types: str = "q8_0",
        *,
        tokens: int,
        sequences: int = 1,
        block: int = 64,
        sinks: int = 4,
        recent: int = 64,
        rotate: bool = False,
        rope: int | None = None,
        adapter: str | None = None,
    ) -> None:
        if not isinstance(types, str):
            raise InputError(f"types is {types!r}: expected a type, or keys:values")
        self.layers = whole("layers", layers, 1)
        self.heads = whole("heads", heads, 1)
        self.kv_heads = whole("kv_heads", kv_heads, 1)
        self.head_dim = whole("head_dim", head_dim, 1)
        self.rope = None if rope is None else whole("rope", rope, 1)
        self.types = types
        self._cache = _lowbit.Cache(
            {
                "layers": self.layers,
                "heads": self.heads,
                "kv_heads": self.kv_heads,
                "head_dim": self.head_dim,
                "rope": self.rope,
                "block": whole("block", block, 1),
                "sinks": whole("sinks", sinks),
                "recent": whole("recent", recent),
                "rotate": bool(rotate),
                "types": types,
                "tokens": whole("tokens", tokens, 1),
                "sequences": whole("sequences", sequences, 1),
                "adapter": adapter_of(adapter),
            }
        )

    def create(self) -> Sequence:
        """A new sequence of no tokens."""
        return self._cache.create()

    def fork(self, sequence: Sequence) -> Sequence:
        """A new sequence with the tokens of another; blocks are shared until one of the two writes into them."""
        return self._cache.fork(sequence)

    def free(self, sequence: Sequence) -> None:
        """Ends a sequence."""
        self._cache.free(sequence)

    def truncate(self, sequence: Sequence, length: int) -> None:
        """Takes the newest tokens away, so that `length` are left; there have to be as many."""
        self._cache.truncate(sequence, whole("length", length))

    def length(self, sequence: Sequence) -> int:
        """Tokens of a sequence."""
        return int(self._cache.length(sequence))

    def sequences(self) -> list[Sequence]:
        """The sequences that there are."""
        return list(self._cache.sequences())

    def center(self, means: Any) -> None:
        """Subtracts a mean from keys before they are encoded, and takes it into account in attention.

        Parameters
        ----------
        means : array_like, shape (layers, kv_heads, head_dim)
            Only while there are no sequences.
        """
        array = floats("means", means, 3)
        expected = (self.layers, self.kv_heads, self.head_dim)
        if array.shape != expected:
            raise InputError(f"means: the shape is {array.shape}, and {expected} is expected")
        self._cache.center(array)

    def memory(self) -> Memory:
        """What it takes on the device."""
        return Memory(*self._cache.memory())

    def step(self, grow: Mapping[Sequence, int]) -> Step:
        """Makes room for new tokens of sequences in every layer, each of which then has to be appended to.

        Parameters
        ----------
        grow : mapping of Sequence to int
            How many tokens each grows by; with none the step is for attention alone.

        Returns
        -------
        step : Step
        """
        return Step(self, grow)

    def append(self, sequence: Sequence, keys: Any, values: Any) -> None:
        """Appends tokens to all layers of a sequence.

        Parameters
        ----------
        sequence : Sequence
        keys, values : array_like, shape (layers, tokens, kv_heads, head_dim), or without the first for one layer
        """
        both = [floats("keys", keys, 3, 4), floats("values", values, 3, 4)]
        of_layers = [x[None] if x.ndim == 3 else x for x in both]
        for name, x in zip(("keys", "values"), of_layers):
            if x.shape[:2] != (self.layers, of_layers[0].shape[1]):
                raise InputError(f"{name}: the shape is {x.shape}, and there are {self.layers} layers: [layers, tokens, kv heads, channels]")
        with self.step({sequence: of_layers[0].shape[1]}) as step:
            for layer, (k, v) in enumerate(zip(*of_layers)):
                step.append(layer, k, v)

    def attend(self, sequence: Sequence, layer: int, queries: Any, **rule: Any) -> np.ndarray:
        """The attention of a sequence's newest token.

        Parameters
        ----------
        sequence : Sequence
        layer : int
        queries : array_like, shape (heads, head_dim)
        **rule
            `scale`, `soft_cap`, `window` and `sinks` of :meth:`Step.attend`.

        Returns
        -------
        output : ndarray of float32, shape (heads, head_dim)
        """
        array = floats("queries", queries, 2)
        output: np.ndarray = self.step({sequence: 0}).attend(layer, array[None], **rule)[0]
        return output

    def save(self, path: str | os.PathLike[str], sequences: list[Sequence] | None = None) -> None:
        """Writes sequences to a file, all of them if none are named."""
        self._cache.save(self.sequences() if sequences is None else list(sequences), path_of("path", path))

    def restore(self, path: str | os.PathLike[str]) -> list[Sequence]:
        """Reads the sequences of a file into a cache of the same layout.

        Returns
        -------
        sequences : list of Sequence
            In the order in which they were saved.
        """
        return list(self._cache.restore(path_of("path", path)))
