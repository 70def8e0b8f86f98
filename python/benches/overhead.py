"""What the Python layer adds to a fit of 1,000,000 x 64 float32: ``python benches/overhead.py [rows [columns [clusters]]]``.

Prints the time of the whole call, that of the library's part of it, and the difference; medians of several fits by turns.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import lowbit
import numpy as np
from lowbit import _lowbit

FITS = 7
rows, columns, clusters = (int(given) for given in [*sys.argv[1:], *("1000000", "64", "16")[len(sys.argv) - 1 :]])
points = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
kmeans = lowbit.KMeans(clusters, init=points[:clusters], max_iter=3, tol=0)
inner: list[float] = []
library = _lowbit.kmeans_fit


def timed(*arguments: Any) -> Any:
    begin = time.perf_counter()
    result = library(*arguments)
    inner.append(time.perf_counter() - begin)
    return result


setattr(_lowbit, "kmeans_fit", timed)
whole = []
for _ in range(FITS + 1):
    begin = time.perf_counter()
    kmeans.fit(points)
    whole.append(time.perf_counter() - begin)

# The first opens the device.
added = np.median(np.array(whole[1:]) - np.array(inner[1:]))
print(f"fit {np.median(whole[1:]) * 1e3:.1f} ms, in the library {np.median(inner[1:]) * 1e3:.1f} ms")
print(f"added {added * 1e3:.3f} ms, {added / np.median(inner[1:]):.3%}")
