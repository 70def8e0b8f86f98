"""Many clusterings at once, as flash-kmeans has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _lowbit
from ._arrays import rows_of
from ._checks import adapter_of, choice, floats, number, numbers_of, seed_of, whole
from ._progress import told
from .errors import InputError

__all__ = ["batch_kmeans"]


def batch_kmeans(
    x: Any,
    k: int,
    max_iters: int = 100,
    tol: float = 0.0,
    init_centroids: Any = None,
    *,
    metric: str = "euclidean",
    n_init: int = 1,
    random_state: int | None = 0,
    memory: int | None = None,
    adapter: str | None = None,
    verbose: bool = False,
    progress: Any = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clusters each of `B` sets of equally many points by itself.

    Parameters
    ----------
    x : array_like, shape (B, n, d)
        Points. float32, float16, uint8 and int8 go in as they are, other numbers become float32.
    k : int
        Clusters of each set.
    max_iters : int, default=100
        Most iterations.
    tol : float, default=0
        A set is done when the squared shifts of its centroids sum to `tol` times the mean variance of its columns, or less. At 0
        it is done when no label changes.
    init_centroids : array_like, shape (B, k, d) or (k, d), optional
        The first centroids; chosen by k-means++ if not given.
    metric : {"euclidean", "cosine", "dot"}, default="euclidean"
    n_init : int, default=1
        Starts, of which the one of least inertia counts.
    random_state : int or None, default=0
        The seed; None draws one.
    memory : int, optional
        MiB of the device's memory that points may take.
    adapter : str, optional
        A part of the name of the adapter.
    verbose : bool, default=False
        Whether iterations are printed.
    progress : callable or True, optional
        Called with what is done, as a dict; True shows a bar of tqdm.

    Returns
    -------
    labels : ndarray of int32, shape (B, n)
    centroids : ndarray of float32, shape (B, k, d)
    n_iter : ndarray of int32, shape (B,)
        Iterations of each set.
    """
    points = numbers_of("x", x, (3,))
    sets, n, d = points.shape
    k = whole("k", k, 1)
    init: Any = "k-means++"
    if init_centroids is not None:
        init = floats("init_centroids", init_centroids, 2, 3)
        if init.shape not in ((k, d), (sets, k, d)):
            raise InputError(f"init_centroids: the shape is {init.shape}, and {(sets, k, d)} or {(k, d)} is expected")
        init = init.reshape(-1, d)
    limit = number("tol", tol)
    if not 0 <= limit < np.inf:
        raise InputError(f"tol is {tol!r}: expected a number of at least 0")
    settings = {
        "k": k,
        "init": init,
        "metric": choice("metric", metric, ("euclidean", "cosine", "dot")),
        "empty": "farthest",
        "n_init": whole("n_init", n_init, 1),
        "seed": seed_of("random_state", random_state),
        "max_iter": whole("max_iters", max_iters, 1),
        "tol": limit,
        "memory": None if memory is None else whole("memory", memory, 1) << 20,
        "adapter": adapter_of(adapter),
    }
    with told(progress, verbose, settings["max_iter"]) as callback:
        fitted = _lowbit.kmeans_batch(rows_of(points.reshape(sets * n, d)), sets, settings, callback)
    labels = fitted["labels"].reshape(sets, n)
    centroids = fitted["cluster_centers"].reshape(sets, k, d)
    return labels, centroids, fitted["n_iter"].astype(np.int32)
