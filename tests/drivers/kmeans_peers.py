"""Times k-means of scikit-learn, FAISS (Lloyd's and SuperKMeans) and lowbit by turns on the same cores, and prints time and objective.

    kmeans_peers.py LOWBIT [POINTS.npy K]...

LOWBIT is the binary. All begin with the same centroids and do 25 iterations, but SuperKMeans, which takes none: it chooses its own. The
objective is the mean squared distance of the points to the nearest centroid that each returned, in double precision for all. The host's
speed changes by the hour, so only what stands in one table compares; the least time of all rounds is taken. Needs numpy, scikit-learn
and faiss-cpu. `make kmeans-peers` sets all up.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

import faiss
import numpy as np
from sklearn.cluster import KMeans

ITERATIONS = 25
ROUNDS = 3
MADE_UP = [(100_000, 64, 256), (20_000, 384, 64)]


def blobs(n, d, clusters, seed=0):
    rng = np.random.default_rng(seed)
    sites = rng.normal(size=(clusters, d))
    return (sites[rng.integers(clusters, size=n)] + 0.5 * rng.normal(size=(n, d))).astype(np.float32)


def objective(x, centers):
    total, squares = 0.0, (centers.astype(np.float64) ** 2).sum(axis=1)
    for part in np.array_split(x.astype(np.float64), max(1, len(x) // 4096)):
        total += ((part**2).sum(axis=1)[:, None] - 2 * part @ centers.T.astype(np.float64) + squares).min(axis=1).sum()
    return total / len(x)


def lowbit(binary, folder, x, init):
    options = ["-k", len(init), "--init", folder / "init.npy", "--tol", 0, "--max-iter", ITERATIONS]
    command = [binary, "kmeans", "fit", folder / "x.npy", *options, "--centroids", folder / "c.npy", "--json", "-q"]
    report = json.loads(subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout)
    return report["ms_per_iteration"], np.load(folder / "c.npy"), report["reranked"]


def scikit_learn(x, init):
    kmeans = KMeans(len(init), init=init, n_init=1, max_iter=ITERATIONS, tol=0, algorithm="lloyd")
    begun = time.perf_counter()
    kmeans.fit(x)
    return (time.perf_counter() - begun) * 1e3 / kmeans.n_iter_, kmeans.cluster_centers_


def of_faiss(kind, x, init, **more):
    kmeans = kind(x.shape[1], len(init), niter=ITERATIONS, max_points_per_centroid=len(x), **more)
    begun = time.perf_counter()
    if kind is faiss.Kmeans:
        kmeans.train(x, init_centroids=init)
    else:
        kmeans.train(x)
    return (time.perf_counter() - begun) * 1e3 / ITERATIONS, kmeans.centroids


def main():
    binary, given = sys.argv[1], sys.argv[2:]
    data = [(blobs(n, d, k), k, f"[{n}, {d}] made up, k={k}") for n, d, k in MADE_UP]
    for path, k in zip(given[::2], given[1::2]):
        x = np.ascontiguousarray(np.load(path), dtype=np.float32)
        data.append((x, int(k), f"{list(x.shape)} {pathlib.Path(path).name}, k={k}"))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for x, k, title in data:
            init = np.ascontiguousarray(x[np.random.default_rng(1).choice(len(x), k, replace=False)])
            np.save(folder / "x.npy", x)
            np.save(folder / "init.npy", init)
            engines = {
                "lowbit": lambda: lowbit(binary, folder, x, init),
                "scikit-learn": lambda: scikit_learn(x, init),
                "FAISS": lambda: of_faiss(faiss.Kmeans, x, init),
                "FAISS SuperKMeans": lambda: of_faiss(faiss.SuperKmeans, x, init),
            }
            found = {}
            for _ in range(ROUNDS):
                for engine, run in engines.items():
                    result = run()
                    found[engine] = min(found.get(engine, result), result, key=lambda result: result[0])
            print(f"{title}, {ITERATIONS} iterations, the least of {ROUNDS} rounds")
            for engine, (ms, centers, *more) in found.items():
                share = f"   ranked again {more[0]['share']:.1e} of the points" if more else ""
                print(f"  {engine:18} {ms:9.2f} ms/iteration   objective {objective(x, centers):.6f}{share}", flush=True)


main()
