"""KV caches."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lowbit
import numpy as np
import pytest
from helpers import ASSETS, Floats, lowbit_cli, python
from lowbit import kv
from numpy.testing import assert_allclose, assert_array_equal
from records import equal

RNG = np.random.default_rng(11)
KEYS: Floats = RNG.standard_normal((2, 100, 2, 64)).astype(np.float32)
VALUES: Floats = RNG.standard_normal((2, 100, 2, 64)).astype(np.float32)
QUERIES: Floats = RNG.standard_normal((4, 64)).astype(np.float32)


def inputs() -> list[Any]:
    return [np.load(ASSETS / "kv" / f"{name}.npy") for name in "qkv"]


def attention(queries: Floats, keys: Floats, values: Floats) -> np.ndarray:
    """Of one token in float64, with keys and values as float16 has them."""
    keys, values = keys.astype(np.float16), values.astype(np.float16)
    out = []
    for head, query in enumerate(queries.astype(np.float64)):
        logits = keys[:, head // 2].astype(np.float64) @ query / np.sqrt(len(query))
        shares = np.exp(logits - logits.max())
        out.append(shares / shares.sum() @ values[:, head // 2].astype(np.float64))
    return np.array(out)


def cache(types: str = "f16", **options: Any) -> kv.Cache:
    options = {"tokens": 512, "sequences": 2, "sinks": 0, "recent": 0, **options}
    return kv.Cache(2, 4, 2, 64, types, **options)


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({"types": ["q8_0", "q8_0:turbo3"], "causal": True, "sinks": 2}, ["--types", "q8_0,q8_0:turbo3", "--causal", "--sinks", "2"]),
        ({"types": "kivi2", "plain": True, "window": 32, "max_l2": 0.5}, ["--types", "kivi2", "--plain", "--window", "32", "--max-l2", "0.5"]),
        ({"types": ["q4_0"], "center": True, "context": 1000}, ["--types", "q4_0", "--center", "--context", "1000"]),
    ],
)
def test_evaluate_is_the_command_lines(options: dict[str, Any], flags: list[str]) -> None:
    paths = [ASSETS / "kv" / f"{name}.npy" for name in "qkv"]
    said = json.loads(lowbit_cli("kv", "eval", "--q", paths[0], "--k", paths[1], "--v", paths[2], "--no-time", "--json", "-q", *flags))
    q, k, v = inputs()
    equal(kv.evaluate(q, k, v, **options), said)


def test_evaluate_tells_how_far_it_is_and_can_be_asked_by_type() -> None:
    said: list[str] = []
    q, k, v = inputs()
    found = kv.evaluate(q, k, v, types=["f16", "q4_0"], progress=said.append)
    assert said and said[-1] == "attention: 4 of 4 heads"
    exact, rough = found["f16"].quality, found["q4_0"].quality
    assert exact is not None and rough is not None and exact.kl.mean < 1e-9 < rough.kl.mean
    with pytest.raises(KeyError):
        found["turbo2"]


def test_evaluate_refuses() -> None:
    q, k, v = inputs()
    refused: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((q, k, v), {"types": "q9"}, "no cache type"),
        ((q, k[:, :9], v), {}, "fit together"),
        ((q[0, 0], k, v), {}, "3 or 4 dimensions"),
        ((q, k, v), {"plain": True, "rotate": True}, "plain"),
        ((q, k, v), {"sinks": 300}, "leave|quantize"),
        ((q, k, v), {"max_kl": -1}, "0 or more"),
        ((q, k, v), {"window": -1}, "window"),
    ]
    for arguments, options, text in refused:
        with pytest.raises(lowbit.InputError, match=text):
            kv.evaluate(*arguments, **options)
    k = k.copy()
    k[0, 1, 2] = np.nan
    with pytest.raises(lowbit.NotFiniteError, match="head 0, token 1, channel 2"):
        kv.evaluate(q, k, v)


def test_attention_is_that_of_numpy() -> None:
    of = cache()
    sequence = of.create()
    of.append(sequence, KEYS, VALUES)
    assert of.length(sequence) == 100
    for layer in range(2):
        found = of.attend(sequence, layer, QUERIES)
        assert found.shape == (4, 64) and found.dtype == np.float32
        assert_allclose(found, attention(QUERIES, KEYS[layer], VALUES[layer]), rtol=0, atol=1e-6)
        seen = of.attend(sequence, layer, QUERIES, window=10)
        assert_allclose(seen, attention(QUERIES, KEYS[layer, 90:], VALUES[layer, 90:]), rtol=0, atol=1e-6)


def test_few_bits_are_near() -> None:
    of = cache("q8_0:q4_0", sinks=4, recent=32)
    sequence = of.create()
    of.append(sequence, KEYS, VALUES)
    found = of.attend(sequence, 0, QUERIES)
    truth = attention(QUERIES, KEYS[0], VALUES[0])
    assert 0 < np.linalg.norm(found - truth) / np.linalg.norm(truth) < 0.1


def test_sequences_are_forked_truncated_and_freed() -> None:
    of = cache()
    first = of.create()
    of.append(first, KEYS, VALUES)
    other = of.fork(first)
    assert first != other and len({first, other}) == 2 and set(of.sequences()) == {first, other}
    of.truncate(first, 96)
    assert (of.length(first), of.length(other)) == (96, 100)
    with pytest.raises(lowbit.InputError, match="97 of them cannot be left"):
        of.truncate(first, 97)
    assert of.length(first) == 96
    with of.step({first: 3, other: 1}) as step:
        assert step.tokens == 4
        for layer in range(2):
            step.append(layer, KEYS[layer, :4], VALUES[layer, :4])
        found = step.attend(1, np.stack([QUERIES, QUERIES]))
        assert step.attend(1, np.stack([QUERIES] * 4), every=True).shape == (4, 4, 64)
    longer = [np.concatenate([x[1, :96], x[1, :3]]) for x in (KEYS, VALUES)]
    assert_allclose(found[0], attention(QUERIES, *longer), rtol=0, atol=1e-6)
    with pytest.raises(lowbit.InputError, match="sequences"):
        of.create()
    of.free(other)
    with pytest.raises(lowbit.InputError, match="freed"):
        of.length(other)
    memory = of.memory()
    assert 0 < memory.in_use <= memory.reserved and memory.free_blocks < memory.blocks


def test_a_step_that_is_not_finished_is_taken_back() -> None:
    of = cache()
    sequence = of.create()
    of.append(sequence, KEYS, VALUES)
    with pytest.raises(lowbit.InputError, match=r"layers \[1\]"):
        with of.step({sequence: 1}) as step:
            step.append(0, KEYS[0, :1], VALUES[0, :1])
    with pytest.raises(ZeroDivisionError):
        with of.step({sequence: 1}):
            1 / 0
    assert of.length(sequence) == 100
    assert_allclose(of.attend(sequence, 0, QUERIES), attention(QUERIES, KEYS[0], VALUES[0]), rtol=0, atol=1e-6)


def test_what_a_finished_step_appended_stays() -> None:
    of = cache()
    sequence = of.create()
    of.append(sequence, KEYS, VALUES)
    with pytest.raises(ZeroDivisionError):
        with of.step({sequence: 1}) as step:
            for layer in range(2):
                step.append(layer, KEYS[layer, :1], VALUES[layer, :1])
            1 / 0
    assert of.length(sequence) == 101
    assert step.abandon() == [] and of.length(sequence) == 101
    of.append(sequence, KEYS[:, :1], VALUES[:, :1])


def test_a_step_that_nothing_refers_to_is_taken_back() -> None:
    of = cache()
    sequence = of.create()
    of.append(sequence, KEYS, VALUES)
    blocks = of.memory().free_blocks
    step = of.step({sequence: 64})
    step.append(0, KEYS[0, :64], VALUES[0, :64])
    del step
    gc.collect()
    assert of.length(sequence) == 100 and of.memory().free_blocks == blocks
    of.append(sequence, KEYS[:, :3], VALUES[:, :3])
    # And one that is finished stays.
    step = of.step({sequence: 1})
    for layer in range(2):
        step.append(layer, KEYS[layer, :1], VALUES[layer, :1])
    del step
    gc.collect()
    assert of.length(sequence) == 104


class Stopped(Exception):
    """Raised by a signal handler."""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes with names")
@pytest.mark.parametrize("made", ["begin", "fork", "restore"])
def test_what_a_signal_ends_leaves_nothing(made: str, tmp_path: Path) -> None:
    of = cache(sequences=3, tokens=1024)
    sequence, busy = of.create(), of.create()
    of.append(sequence, KEYS, VALUES)
    of.append(busy, np.tile(KEYS, (1, 3, 1, 1)), np.tile(VALUES, (1, 3, 1, 1)))
    of.save(tmp_path / "kv", [sequence])
    os.mkfifo(tmp_path / "pipe")
    held = threading.Event()

    def read() -> None:
        # Whoever saves into a pipe has the cache until it is read.
        with open(tmp_path / "pipe", "rb") as pipe:
            held.set()
            time.sleep(0.5)
            assert len(pipe.read()) > 1 << 17

    def stop(*_: object) -> None:
        raise Stopped

    calls: dict[str, Callable[[], object]] = {
        "begin": lambda: of.step({sequence: 1}),
        "fork": lambda: of.fork(sequence),
        "restore": lambda: of.restore(tmp_path / "kv"),
    }
    threads = [threading.Thread(target=read), threading.Thread(target=of.save, args=(tmp_path / "pipe", [busy]))]
    before = signal.signal(signal.SIGALRM, stop)
    try:
        for thread in threads:
            thread.start()
        assert held.wait(60)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Stopped):
            calls[made]()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        for thread in threads:
            thread.join()
    assert set(of.sequences()) == {sequence, busy}
    of.append(sequence, KEYS[:, :1], VALUES[:, :1])
    assert of.length(sequence) == 101


HEEDING = """
import os, signal, time
import numpy as np
import lowbit
from lowbit import kv

x = np.random.default_rng(0).normal(size=(1000, 2, 64)).astype(np.float32)
found = []

def progress(news):
    if found:
        return
    found.append("begun")
    os.kill(os.getpid(), signal.SIGINT)
    # Until the fit's stop is set.
    time.sleep(0.5)
    try:
        cache = kv.Cache(1, 4, 2, 64, "q8_0", tokens=1024, sequences=2)
        sequence = cache.create()
        cache.append(sequence, x[:300], x[:300])
        other = cache.fork(sequence)
        cache.append(other, x[:300], x[:300])
        cache.truncate(other, 500)
        cache.attend(sequence, 0, x[:2].reshape(4, 64))
        found.append("worked")
    except lowbit.Error as error:
        found.append(repr(error))

try:
    lowbit.KMeans(4, tol=0, max_iter=1000, progress=progress).fit(x.reshape(1000, -1))
except KeyboardInterrupt:
    print(*found)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent otherwise there")
def test_a_cache_hears_no_other_threads_stop() -> None:
    assert python(HEEDING) == "begun worked\n"


def test_sequences_are_saved_and_restored(tmp_path: Path) -> None:
    of, other = cache("q8_0"), cache("q8_0")
    sequence = of.create()
    of.append(sequence, KEYS, VALUES)
    of.save(tmp_path / "kv")
    (restored,) = other.restore(tmp_path / "kv")
    assert_array_equal(other.attend(restored, 1, QUERIES), of.attend(sequence, 1, QUERIES))


def test_refusals() -> None:
    of = cache()
    sequence = of.create()
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: of.append(sequence, KEYS[:, :, :1], VALUES), "kv heads"),
        (lambda: of.append(sequence, KEYS[0], VALUES[0]), "2 layers"),
        (lambda: of.attend(sequence, 0, QUERIES), "token"),
        (lambda: of.step({sequence: 100_000}), "room|blocks"),
        (lambda: of.step({}), "no sequences"),
        (lambda: cache(types="q9"), "no cache type"),
        (lambda: cache(tokens=0), "tokens"),
        (lambda: kv.Cache(1, 3, 2, 64, tokens=64), "no multiple"),
        (lambda: cache().free(sequence), "not in this cache"),
    ]
    for call, text in refused:
        with pytest.raises(lowbit.InputError, match=text):
            call()
    with pytest.raises(lowbit.UnsupportedError, match="65"):
        kv.Cache(1, 2, 2, 65, tokens=64)
