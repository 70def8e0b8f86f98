"""How the package lives with the rest of a process."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lowbit
import numpy as np
import pytest
from helpers import blobs, python
from lowbit import _lowbit
from lowbit._records import flat, made
from lowbit.errors import Fault


def slow(iterations: int) -> Any:
    """A fit of :data:`SLOW` that takes seconds, if it is let."""
    return lowbit.KMeans(64, init=SLOW[:64], tol=0, max_iter=iterations)


# No two are alike, so that labels keep changing.
SLOW = np.random.default_rng(0).normal(size=(60_000, 64)).astype(np.float32)


def test_import_takes_numpy_alone_and_opens_nothing() -> None:
    code = """
import json, os, sys
import numpy
before = set(sys.modules)
import lowbit
new = sorted({name.split(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))
maps = open("/proc/self/maps").read() if os.path.exists("/proc/self/maps") else ""
print(json.dumps([new, [name for name in ("vulkan", "libEGL", "lvp", "nvidia") if name in maps]]))
"""
    assert json.loads(python(code)) == [["lowbit"], []]


def test_import_is_quick() -> None:
    code = "import time; t = time.perf_counter(); import lowbit; print(time.perf_counter() - t)"
    # The best of several: other work on the machine can only make it slower.
    seconds = min(float(python(code)) for _ in range(5))
    print(f"import lowbit: {seconds:.3f} s")
    assert seconds < 0.3


def test_other_threads_run_during_a_fit() -> None:
    ended = threading.Event()
    ticks: list[float] = []

    def tick() -> None:
        while not ended.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    # So that opening the device is not counted.
    lowbit.KMeans(2).fit(SLOW[:100])
    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.perf_counter()
    slow(20).fit(SLOW)
    end = time.perf_counter()
    ended.set()
    thread.join()
    during = [at for at in ticks if begin < at < end]
    longest = max(np.diff([begin, *during, end]))
    assert end - begin > 0.2, "too quick to tell"
    # If the fit kept the lock, there would be one gap as long as itself.
    assert longest < (end - begin) / 2, f"nothing else ran for {longest:.3f} of {end - begin:.3f} s"


def test_fits_in_threads_at_a_time() -> None:
    x = blobs(3000, 8, 5, spread=1.0)
    expected = [lowbit.KMeans(5, random_state=seed).fit(x) for seed in range(4)]
    found: list[Any] = [None] * 4

    def fit(seed: int) -> None:
        found[seed] = lowbit.KMeans(5, random_state=seed).fit(x)

    threads = [threading.Thread(target=fit, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.cluster_centers_, other.cluster_centers_)


INTERRUPTED = """
import sys, time
import numpy as np
import lowbit

x = np.load(sys.argv[1])
kmeans = lowbit.KMeans(64, init=x[:64], tol=0, max_iter=int(sys.argv[3]), checkpoint=sys.argv[2] or None)
kmeans.progress = lambda news: print("running", flush=True) if news["step"] == "iterating" else None
try:
    kmeans.fit(x)
except KeyboardInterrupt:
    print("interrupted", time.time(), flush=True)
    assert not hasattr(kmeans, "cluster_centers_")
    # The device is still of use.
    lowbit.KMeans(2, random_state=0).fit(x[:1000])
    print("went on", flush=True)
"""


def interrupted(folder: Path, checkpoint: str, iterations: int) -> float:
    """Sends SIGINT to a fit that has begun to iterate; the seconds until it has raised KeyboardInterrupt."""
    np.save(folder / "x.npy", SLOW)
    command = [sys.executable, "-c", INTERRUPTED, str(folder / "x.npy"), checkpoint, str(iterations)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            for _ in range(3):
                line = child.stdout.readline()
                assert line == "running\n", child.communicate(timeout=60)
            sent = time.time()
            child.send_signal(signal.SIGINT)
            printed, errors = child.communicate(timeout=60)
        finally:
            child.kill()
    lines = [line for line in printed.splitlines() if line != "running"]
    assert len(lines) == 2 and lines[1] == "went on", printed + errors
    return float(lines[0].split()[1]) - sent


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent otherwise there")
def test_interrupt_ends_a_fit_soon(tmp_path: Path) -> None:
    seconds = interrupted(tmp_path, "", 100_000)
    print(f"KeyboardInterrupt after {seconds:.3f} s")
    # 0.5 s, and what a busy machine takes to let it run.
    assert seconds < 1


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent otherwise there")
def test_interrupted_fit_resumes_to_the_same_bits(tmp_path: Path) -> None:
    checkpoint = tmp_path / "fit.safetensors"
    interrupted(tmp_path, str(checkpoint), 80)
    assert [path.name for path in tmp_path.iterdir() if path.name != "x.npy"] == ["fit.safetensors"]
    kmeans = slow(80).set_params(checkpoint=checkpoint)
    begun: list[int] = []
    kmeans.progress = lambda news: begun.append(news["n_iter"]) if news["step"] == "iterating" else None
    kmeans.fit(SLOW)
    assert begun[0] > 1, "it began anew"
    whole = slow(80).fit(SLOW)
    assert kmeans.cluster_centers_.tobytes() == whole.cluster_centers_.tobytes()
    np.testing.assert_array_equal(kmeans.labels_, whole.labels_)
    assert (kmeans.inertia_, kmeans.n_iter_) == (whole.inertia_, whole.n_iter_)


def test_checkpoint_of_another_fit_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "fit.safetensors"
    checkpoint.write_bytes(b"no checkpoint at all")
    with pytest.raises(lowbit.Error) as raised:
        lowbit.KMeans(2, checkpoint=checkpoint).fit(SLOW[:100])
    assert str(checkpoint) in str(raised.value) and isinstance(raised.value, ValueError)
    assert "resume" not in str(raised.value).replace("cannot be resumed from", "")
    assert checkpoint.read_bytes() == b"no checkpoint at all"


def test_progress_is_told() -> None:
    news: list[dict[str, Any]] = []
    kmeans = lowbit.KMeans(5, random_state=0, progress=news.append).fit(blobs(500, 4, 5, spread=1.0))
    steps = [one["step"] for one in news]
    assert set(steps) <= {"seeding", "iterating"} and "iterating" in steps
    iterations = [one["n_iter"] for one in news if one["step"] == "iterating"]
    assert iterations == sorted(iterations) and iterations[-1] == kmeans.n_iter_
    assert {"n_iter", "changed", "shift", "inertia"} <= set(next(one for one in news if one["step"] == "iterating"))


@pytest.mark.parametrize("estimator", [lowbit.KMeans, lowbit.MiniBatchKMeans])
def test_what_progress_raises_ends_the_fit(estimator: Any) -> None:
    class Enough(Exception):
        pass

    calls = 0

    def progress(news: dict[str, Any]) -> None:
        nonlocal calls
        calls += 1
        raise Enough("of it")

    kmeans = estimator(64, progress=progress, random_state=0)
    with pytest.raises(Enough, match="of it"):
        kmeans.fit(SLOW)
    assert calls == 1
    assert not hasattr(kmeans, "cluster_centers_")
    kmeans.set_params(progress=None, n_clusters=2).fit(SLOW[:100])


def test_what_progress_raises_ends_no_other_fit() -> None:
    class Enough(Exception):
        pass

    both, raised = threading.Barrier(2), threading.Event()
    found: dict[str, Any] = {}

    def raises(news: dict[str, Any]) -> None:
        both.wait(60)
        raised.set()
        raise Enough("of it")

    def goes_on(news: dict[str, Any]) -> None:
        if not raised.is_set():
            both.wait(60)
            assert raised.wait(60)

    def fit(name: str, progress: Any) -> None:
        try:
            found[name] = slow(30).set_params(progress=progress).fit(SLOW).cluster_centers_
        except BaseException as error:
            found[name] = error

    threads = [threading.Thread(target=fit, args=(of.__name__, of)) for of in (raises, goes_on)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert isinstance(found["raises"], Enough)
    np.testing.assert_array_equal(found["goes_on"], slow(30).fit(SLOW).cluster_centers_)


def test_progress_may_use_lowbit() -> None:
    x = blobs(500, 4, 5, spread=1.0)
    inner: list[Any] = []
    outer = lowbit.KMeans(5, random_state=0)
    outer.progress = lambda news: inner.append(lowbit.KMeans(5, random_state=0).fit(x).inertia_)
    outer.fit(x)
    assert inner and set(inner) == {outer.inertia_}


def test_bar_of_tqdm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    kmeans = lowbit.KMeans(5, random_state=0, progress=True)
    kmeans.fit(blobs(500, 4, 5, spread=1.0))
    assert f"{kmeans.n_iter_}/300" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="pip install tqdm"):
        kmeans.fit(blobs(500, 4, 5, spread=1.0))


def test_verbose_prints(capsys: pytest.CaptureFixture[str]) -> None:
    x = blobs(500, 4, 5, spread=1.0)
    lowbit.KMeans(5, random_state=0).fit(x)
    assert capsys.readouterr() == ("", "")
    lowbit.KMeans(5, random_state=0, verbose=1).fit(x)
    assert "Iteration " in capsys.readouterr().out


def test_notices_are_logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.INFO, logger="lowbit"):
        lowbit.KMeans(4, init=SLOW[:4], tol=0, max_iter=1).fit(SLOW[:100])
    assert {record.name for record in caplog.records} == {"lowbit"}
    assert "not converged after 1 iterations" in caplog.text
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("here", [False, True])
def test_panic_becomes_an_exception(here: bool) -> None:
    with pytest.raises(Fault, match="please report it .*: a panic for a test") as raised:
        _lowbit.panic_for_a_test(here)
    assert isinstance(raised.value, lowbit.Error) and isinstance(raised.value, RuntimeError)
    lowbit.KMeans(2).fit(SLOW[:100])


def test_an_error_without_its_class_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(lowbit.errors, "Fault")
    with pytest.raises(RuntimeError, match="a panic for a test") as raised:
        _lowbit.panic_for_a_test()
    assert isinstance(raised.value.__cause__, AttributeError)


@dataclass
class Inner:
    size: int


@dataclass
class Record:
    count: int
    least: float | None
    inner: Inner = flat()


def test_a_report_without_a_key_is_a_fault() -> None:
    assert made(Record, {"count": 1, "size": 2}) == Record(1, None, Inner(2))
    for report, missing in (({"size": 2}, "count"), ({"count": 1}, "size")):
        with pytest.raises(Fault, match=f"no '{missing}'"):
            made(Record, report)


OPENED = """
import logging
import numpy as np
import lowbit

x = np.eye(32, dtype=np.float32)
records = []

class Handler(logging.Handler):
    def emit(self, record):
        records.append(record)
        # Whoever hears may use lowbit.
        if len(records) == 1:
            lowbit.KMeans(2, random_state=0).fit(x)

logging.getLogger("lowbit").addHandler(Handler())
logging.getLogger("lowbit").setLevel(logging.INFO)
first = lowbit.devices()[0]
for adapter in (None, first.name, first.name[: len(first.name) // 2], first.name.upper()):
    lowbit.KMeans(2, random_state=0, adapter=adapter).fit(x)
said = [record.levelname for record in records if "is a software device" in record.getMessage()]
assert said == ["WARNING"] * (first.kind == "software"), said
assert {record.levelname for record in records if "compil" in record.getMessage()} <= {"INFO"}
print("fine")
"""


def test_what_opening_says_is_logged_once_and_without_a_lock() -> None:
    assert python(OPENED, timeout=60) == "fine\n"


HEARD = """
import logging
import numpy as np
import lowbit
from lowbit import _lowbit

cache = lowbit.kv.Cache(1, 2, 2, 64, "q8_0", tokens=256)
of = cache.create()
x = np.ones((1, 8, 2, 64), dtype=np.float32)
heard = []

class Handler(logging.Handler):
    def emit(self, record):
        heard.append((record.getMessage(), cache.length(of)))

logging.getLogger("lowbit").addHandler(Handler())
logging.getLogger("lowbit").setLevel(logging.INFO)
cache._cache.say_for_a_test("something under the lock")
assert heard == [("something under the lock", 0)], heard
cache.append(of, x, x)
assert cache.length(of) == 8
print("fine")
"""


def test_who_hears_may_use_the_cache_that_speaks() -> None:
    assert python(HEARD, timeout=60) == "fine\n"


LOST = """
import logging
import numpy as np
import lowbit
from lowbit import _lowbit

x = np.eye(64, dtype=np.float32)
weights = lowbit.quantize(x, "Q8_0")
before = lowbit.matmul(weights, x)
cache = lowbit.kv.Cache(1, 2, 2, 64, "q8_0", tokens=256)
heard = []

class Handler(logging.Handler):
    def emit(self, record):
        heard.append((record.levelname, record.getMessage()))

logging.getLogger("lowbit").addHandler(Handler())
_lowbit.lose_device_for_a_test()
for use in (lambda: cache.append(cache.create(), x.reshape(1, 32, 2, 64), x.reshape(1, 32, 2, 64)),):
    try:
        use()
    except lowbit.DeviceError:
        continue
    raise SystemExit("what lay on the device is used still")
assert np.array_equal(lowbit.matmul(weights, x), before)
lowbit.KMeans(2, random_state=0).fit(x)
assert [level for level, text in heard if "was lost" in text] == ["WARNING"], heard
print("fine")
"""


def test_a_lost_device_is_opened_anew() -> None:
    assert python(LOST, timeout=120) == "fine\n"


def test_errors_are_pickled() -> None:
    with pytest.raises(lowbit.InputError) as raised:
        lowbit.KMeans(0).fit(SLOW[:10])
    again = pickle.loads(pickle.dumps(raised.value))
    assert type(again) is lowbit.InputError and str(again) == str(raised.value)


def test_devices_are_told() -> None:
    found = lowbit.devices()
    assert found and all(device.name and device.max_buffer_bytes > 0 for device in found)
    name = found[0].name
    kmeans = lowbit.KMeans(2, adapter=name, random_state=0).fit(SLOW[:100])
    np.testing.assert_array_equal(kmeans.labels_, lowbit.KMeans(2, random_state=0).fit(SLOW[:100]).labels_)


def test_licences_of_what_is_compiled_in_are_there() -> None:
    try:
        files = importlib.metadata.files("lowbit") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("it is not installed from a wheel")
    [notices] = [file for file in files if file.name == "THIRD-PARTY-NOTICES"]
    text = notices.read_text(encoding="utf-8")
    assert all(f"\n{crate} " in text for crate in ("hdf5-pure", "naga", "parquet", "pyo3", "wgpu"))
    # Of what is compiled from C.
    assert "zstd/LICENSE:" in text
    assert "Permission is hereby granted" in text


FITS = """
import gc, sys
import numpy as np
import lowbit
from lowbit import _lowbit

def resident():
    gc.collect()
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

x = np.random.default_rng(0).normal(size=(20_000, 32)).astype(np.float32)
count, seen = int(sys.argv[1]), []
for i in range(count):
    if i >= count // 4 and i % (count // 20) == 0:
        seen.append((i, resident()))
        if len(seen) == 1:
            on_device = _lowbit.allocated_for_a_test()
    kmeans = lowbit.KMeans(8, random_state=i, max_iter=3).fit(x)
    kmeans.predict(x)
seen.append((count, resident()))
at, kib = np.array(seen, dtype=float).T
print(np.polyfit(at, kib, 1)[0], kib[-1] - kib[0], kib[0])
print(*(on_device or ()), *(_lowbit.allocated_for_a_test() or ()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is counted on Linux")
def test_fits_keep_no_memory() -> None:
    host, device = python(FITS, "200", timeout=300).splitlines()
    slope, growth, first = map(float, host.split())
    print(f"{slope:.2f} KiB a fit, {growth:.0f} KiB more than {first:.0f} KiB")
    # A fit that kept its points, 2500 KiB, or its labels, 78 KiB, would show.
    assert slope < 40
    print(f"on the device, bytes and allocations before and after: {device}")
    if device.strip():
        before, blocks, after, blocks_after = map(int, device.split())
        assert after <= before and blocks_after <= blocks
