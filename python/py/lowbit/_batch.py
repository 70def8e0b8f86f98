"""Many clusterings at once, as flash-kmeans has them."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _lowbit
from ._arrays import rows_of
from ._checks import COUNT, INITS, choice, floats, number, numbers_of, seed_of, settings_of, whole
from ._progress import told
from .errors import InputError

__all__ = ["batch_kmeans"]

_LOG = logging.getLogger("lowbit")


class Clusterings(tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.int32]]):
    """Labels, centroids and iterations of each set, as the three that flash-kmeans returns, with more by name."""

    inertia: npt.NDArray[np.float64]
    converged: npt.NDArray[np.bool_]

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        return self[0]

    @property
    def centroids(self) -> npt.NDArray[np.float32]:
        return self[1]

    @property
    def n_iter(self) -> npt.NDArray[np.int32]:
        return self[2]


def batch_kmeans(
    x: Any,
    k: int,
    max_iters: int = 100,
    tol: float = 0.0,
    init_centroids: Any = None,
    *,
    sample_weight: Any = None,
    init: str = "k-means++",
    balanced: bool = False,
    metric: str = "euclidean",
    n_init: int = 1,
    random_state: Any = 0,
    memory: int | None = None,
    adapter: str | None = None,
    verbose: bool = False,
    progress: Any = None,
) -> Clusterings:
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
        The first centroids; chosen by `init` if not given.
    sample_weight : array_like, shape (B, n), optional
        How often each point counts in its set.
    init : {"k-means++", "k-means||", "random", "bisecting", "two-level"}, default="k-means++"
        How the first centroids of each set are chosen, as :class:`KMeans` does it. With the second and the last two, the sets are
        clustered one after the other.
    balanced : bool, default=False
        Whether all clusters of a set get equally many points (:class:`KMeans`); the sets are then clustered one after the other.
    metric : {"euclidean", "cosine", "dot"}, default="euclidean"
    n_init : int, default=1
        Starts, of which the one of least inertia counts.
    random_state : int, RandomState, Generator or None, default=0
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

    The three are a tuple, which has them as attributes too, and besides:

    inertia : ndarray of float64, shape (B,)
        Sum of the squared distances of each set's points to their centroids (distances for other metrics).
    converged : ndarray of bool, shape (B,)
        Whether a set was done before `max_iters`.
    """
    points = numbers_of("x", x, (3,))
    sets, n, d = points.shape
    k = whole("k", k, 1)
    first: Any = choice("init", init, INITS)
    if init_centroids is not None:
        first = floats("init_centroids", init_centroids, 2, 3)
        if first.shape not in ((k, d), (sets, k, d)):
            raise InputError(f"init_centroids: the shape is {first.shape}, and {(sets, k, d)} or {(k, d)} is expected")
        first = first.reshape(-1, d)
    weights = None
    if sample_weight is not None:
        weights = floats("sample_weight", sample_weight, 2)
        if weights.shape != (sets, n):
            raise InputError(f"sample_weight: the shape is {weights.shape}, and {(sets, n)} is expected")
        weights = weights.reshape(-1)
    settings = settings_of(
        k,
        metric,
        memory,
        adapter,
        init=first,
        balanced=bool(balanced),
        n_init=whole("n_init", n_init, 1, COUNT),
        seed=seed_of("random_state", random_state),
        max_iter=whole("max_iters", max_iters, 1, COUNT),
        tol=number("tol", tol, 0),
    )
    with told(progress, verbose, settings["max_iter"]) as callback:
        fitted = _lowbit.kmeans_batch(rows_of(points.reshape(sets * n, d)), sets, settings, weights, callback)
    for notice in fitted["notices"]:
        _LOG.info("%s", notice)
    labels = fitted["labels"].reshape(sets, n)
    centroids = fitted["cluster_centers"].reshape(sets, k, d)
    clusterings = Clusterings((labels, centroids, fitted["n_iter"].astype(np.int32)))
    clusterings.inertia = np.asarray(fitted["inertia"], dtype=np.float64)
    clusterings.converged = np.asarray(fitted["converged"], dtype=bool)
    return clusterings
