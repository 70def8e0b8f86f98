"""How many clusters: k-means with several numbers of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _lowbit
from ._arrays import rows_of
from ._checks import COUNT, choice, number, numbers_of, seed_of, settings_of, weights_of, whole
from ._progress import told
from .errors import InputError

__all__ = ["Choice", "choose_k"]

_LOG = logging.getLogger("lowbit")
# Starts of init="random" when n_init is "auto", as KMeans has them.
_RANDOM_STARTS = 10


@dataclass(frozen=True, eq=False)
class Choice:
    """What :func:`choose_k` found: an entry of each array for each number of clusters.

    Attributes
    ----------
    k : ndarray of int64, shape (n_candidates,)
        Numbers of clusters, rising.
    inertia : ndarray of float64, shape (n_candidates,)
        As ``KMeans.inertia_``.
    silhouette : ndarray of float64, shape (n_candidates,)
        The mean silhouette coefficient, from -1 to 1; NaN where there is none.
    n_iter : ndarray of int64, shape (n_candidates,)
        As ``KMeans.n_iter_``.
    converged : ndarray of bool, shape (n_candidates,)
        Whether the loop ended before `max_iter`.
    distinct_clusters : ndarray of int64, shape (n_candidates,)
        Clusters that hold at least one point.
    imbalance : ndarray of float64, shape (n_candidates,)
        `k` times the sum of the squared sizes of the clusters over the square of their sum: 1 if all are of one size.
    elbow : int or None
        The number of clusters at the elbow of the inertia, if there is one.
    best_silhouette : int or None
        The number of clusters of the best silhouette, the least of equals.
    sample : int
        Rows that the silhouettes are of; 0 without silhouettes.
    """

    k: npt.NDArray[np.int64]
    inertia: npt.NDArray[np.float64]
    silhouette: npt.NDArray[np.float64]
    n_iter: npt.NDArray[np.int64]
    converged: npt.NDArray[np.bool_]
    distinct_clusters: npt.NDArray[np.int64]
    imbalance: npt.NDArray[np.float64]
    elbow: int | None
    best_silhouette: int | None
    sample: int


def choose_k(
    x: Any,
    ks: Iterable[int],
    *,
    metric: str = "euclidean",
    init: str = "k-means++",
    n_init: Any = "auto",
    max_iter: int = 300,
    tol: float = 1e-4,
    sample_weight: Any = None,
    random_state: Any = 0,
    silhouette: bool = True,
    sample_size: int | None = 10_000,
    empty: str = "farthest",
    memory: int | None = None,
    adapter: str | None = None,
    progress: Any = None,
) -> Choice:
    """Clusters points with several numbers of clusters, and says which of them the elbow and the silhouette speak for.

    Each clustering is that of ``KMeans(k, ...)`` with the same parameters, to the bit; none is kept.

    Parameters
    ----------
    x : array_like, shape (n, d)
        Points. float32, float16, uint8 and int8 go in as they are, other numbers become float32.
    ks : iterable of int
        Numbers of clusters, such as ``range(2, 21)``, in any order; each is tried once.
    metric : {"euclidean", "cosine", "dot"}, default="euclidean"
        Silhouettes are by it too; for "dot" there are none, since products are no distances.
    init : {"k-means++", "k-means||", "random"}, default="k-means++"
    n_init : "auto" or int, default="auto"
        Starts, of which the one of least inertia counts. "auto" is 10 for "random", and 1 otherwise, as in :class:`KMeans`.
    max_iter : int, default=300
    tol : float, default=1e-4
    sample_weight : array_like, shape (n,), optional
        How often each point counts. Silhouettes take no part of it, as in scikit-learn.
    random_state : int, RandomState, Generator or None, default=0
        The seed of every clustering and of the sample; None draws one.
    silhouette : bool, default=True
        Whether silhouettes are measured. Their time grows with the square of `sample_size`.
    sample_size : int or None, default=10_000
        Rows that silhouettes are of, uniformly drawn where there are more; None for all.
    empty : {"farthest", "split-largest", "keep"}, default="farthest"
    memory : int, optional
        MiB of the device's memory that points may take.
    adapter : str, optional
        A part of the name of the adapter.
    progress : callable or True, optional
        Called with what is done, as a dict (``step``, ``k``, ``fit`` of ``fits``, and what :class:`KMeans` tells; then ``measuring``);
        True shows a bar of tqdm.

    Returns
    -------
    choice : Choice

    Notes
    -----
    The elbow is found by Kneedle (Satopaa et al. 2011, sensitivity 1): with inertia and number of clusters brought to [0, 1], the place
    where the curve is farthest from the line between its corners, if from there on it comes nearer to that by more than a mean
    step. Silhouettes (Rousseeuw 1987) are scikit-learn's ``silhouette_score``, but that a number of clusters without one has NaN.
    """
    points = numbers_of("x", x, (2,))
    choice("init", init, ("k-means++", "k-means||", "random"))
    auto = isinstance(n_init, str) and n_init == "auto"
    starts = (_RANDOM_STARTS if init == "random" else 1) if auto else whole("n_init", n_init, 1, COUNT)
    settings = settings_of(
        1,
        metric,
        memory,
        adapter,
        init=init,
        empty=choice("empty", empty, ("farthest", "split-largest", "keep")),
        n_init=starts,
        seed=seed_of("random_state", random_state),
        max_iter=whole("max_iter", max_iter, 1, COUNT),
        tol=number("tol", tol, 0),
    )
    numbers = _numbers(ks)
    sample = None
    if silhouette:
        sample = max(len(points), 2) if sample_size is None else whole("sample_size", sample_size, 2)
    weights = weights_of(sample_weight, len(points))
    with told(progress, False, len(set(numbers)), by="fit") as callback:
        found = _lowbit.kmeans_choose(rows_of(points), numbers, settings, sample, weights, callback)
    for notice in found["notices"]:
        _LOG.info("%s", notice)
    rows = found["candidates"]

    def column(name: str, dtype: Any) -> Any:
        return np.array([row[name] for row in rows], dtype=dtype)

    return Choice(
        k=column("k", np.int64),
        inertia=column("inertia", np.float64),
        silhouette=column("silhouette", np.float64),
        n_iter=column("n_iter", np.int64),
        converged=column("converged", np.bool_),
        distinct_clusters=column("distinct_clusters", np.int64),
        imbalance=column("imbalance", np.float64),
        elbow=found["elbow"],
        best_silhouette=found["best_silhouette"],
        sample=found["sample"],
    )


def _numbers(ks: Any) -> list[int]:
    try:
        given = list(ks)
    except TypeError:
        raise InputError(f"ks is {ks!r}: expected several whole numbers, such as range(2, 21)") from None
    if not given:
        raise InputError("ks is empty: expected several whole numbers, such as range(2, 21)")
    return [whole("ks", k, 1) for k in given]
