"""Other processes than the first: forked ones, spawned ones, and how they end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import python

FORKED = """
import os, sys
import numpy as np
import lowbit

x = np.eye(32, dtype=np.float32)
weights = lowbit.quantize(x, "Q8_0")
lowbit.matmul(weights, x)
fitted = lowbit.KMeans(2, random_state=0).fit(x)
mini = lowbit.MiniBatchKMeans(2, random_state=0).partial_fit(x)
child = os.fork()
if child == 0:
    refused = 0
    try:
        for use in (
            lambda: lowbit.KMeans(2).fit(x),
            lambda: mini.partial_fit(x),
            lambda: fitted.predict(x),
            lambda: lowbit.matmul(weights, x),
            lowbit.devices,
        ):
            try:
                use()
            except lowbit.UnsupportedError as error:
                refused += "forked" in str(error) and "spawn" in str(error)
    finally:
        os._exit(0 if refused == 5 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
mini.partial_fit(x)
print("fine")
"""

FAILED = """
import os
import numpy as np
import lowbit

x = np.eye(8, dtype=np.float32)
try:
    lowbit.KMeans(2, adapter="there is no such adapter").fit(x)
except lowbit.Error as error:
    assert "there is no such adapter" in str(error)
child = os.fork()
if child == 0:
    try:
        lowbit.KMeans(2, random_state=0).fit(x)
        os._exit(0)
    finally:
        os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("fine")
"""

UNUSED = """
import os
import numpy as np
import lowbit

child = os.fork()
if child == 0:
    lowbit.KMeans(2, random_state=0).fit(np.eye(8, dtype=np.float32))
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("fine")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_fork_after_use_is_refused() -> None:
    assert python(FORKED, timeout=60) == "fine\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_fork_before_use_works() -> None:
    assert python(UNUSED, timeout=60) == "fine\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_fork_after_a_failed_opening_works() -> None:
    assert python(FAILED, timeout=60) == "fine\n"


SPAWNED = """
import multiprocessing, sys
import numpy as np
import lowbit

x = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)

def labels(kmeans):
    return kmeans.fit(x).labels_.tolist(), kmeans.inertia_

if __name__ == "__main__":
    kmeans = lowbit.KMeans(3, random_state=0)
    expected = labels(kmeans)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(labels, [kmeans] * 2) == [expected] * 2
    print("fine")
"""


def test_spawn_works(tmp_path: Path) -> None:
    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.stdout == "fine\n", done.stderr


ENDING = """
import os, queue, sys, threading, time
# Nothing of an earlier process: its kernels have to be compiled.
os.environ.update(MESA_SHADER_CACHE_DISABLE="true", XDG_CACHE_HOME=sys.argv[2])
import numpy as np
import lowbit

x = np.random.default_rng(0).normal(size=(60_000, 64)).astype(np.float32)

def appending():
    cache = lowbit.kv.Cache(1, 2, 2, 64, "q8_0", tokens=256)
    ones = np.ones((1, 8, 2, 64), dtype=np.float32)
    cache.append(cache.create(), ones, ones)
    return cache

def in_threads(work, count, after):
    for _ in range(count):
        threading.Thread(target=work, daemon=True).start()
    time.sleep(after)

def forever(pause, progress=None):
    while True:
        lowbit.KMeans(64, tol=0, max_iter=1000, n_init=1, random_state=0, progress=progress).fit(x)
        time.sleep(pause)

def fitting():
    in_threads(lambda: forever(0), 1, 0.3)

def fitting_later():
    in_threads(lambda: forever(0), 3, 2.0)

def learning():
    # Most of the time between two calls.
    def work():
        mini = lowbit.MiniBatchKMeans(8, random_state=0)
        while True:
            mini.partial_fit(x[:500])
            time.sleep(0.02)
    in_threads(work, 2, 1.0)

def telling():
    # To somebody who listens no more.
    full = queue.Queue(1)
    in_threads(lambda: forever(0, full.put), 1, 2.0)

def forked():
    cache = appending()
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    else:
        sys.exit(0)

def forked_while_others_work():
    # Without a device: what the parent has at hand is not the child's.
    ones = np.ones((4096, 4096), dtype=np.float32)
    def work():
        while True:
            lowbit.quantize(ones, "Q4_K")
    in_threads(work, 1, 0.5)
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    else:
        sys.exit(0)

kept = globals()[sys.argv[1]]()
print("fine")
"""

ENDS = ["appending", "fitting", "fitting_later", "learning", "telling", "forked", "forked_while_others_work"]


@pytest.mark.parametrize("what", ENDS)
def test_a_process_ends_well_with_work_at_hand(what: str, tmp_path: Path) -> None:
    if "forked" in what and sys.platform == "win32":
        pytest.skip("there is no fork")
    for _ in range(3 if what == "appending" else 1):
        assert python(ENDING, what, str(tmp_path), timeout=60) == "fine\n"
