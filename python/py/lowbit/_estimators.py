"""k-means as scikit-learn's users know it."""

from __future__ import annotations

import logging
import numbers
import os
import warnings
from typing import Any

import numpy as np

from . import _lowbit
from ._arrays import as_float32, rows_of
from ._base import (
    HAS_SKLEARN,
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    ConvergenceWarning,
    TransformerMixin,
    check_is_fitted,
    points,
)
from ._progress import told
from .errors import InputError

__all__ = ["KMeans", "MiniBatchKMeans"]

_LOG = logging.getLogger("lowbit")
_INITS = ("k-means++", "k-means||", "random")
# Seconds between two states that are kept.
_KEEP_EVERY = 60.0


def _whole(name: str, value: Any, least: int, most: int = (1 << 32) - 1) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise InputError(f"{name} is {value!r}: expected a whole number of at least {least}")
    found = int(value)
    if found < least:
        raise InputError(f"{name} is {found}: expected at least {least}")
    if found > most:
        raise InputError(f"{name} is {found}: expected at most {most}")
    return found


def _number(name: str, value: Any) -> float:
    found = -1.0
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)):
        try:
            found = float(value)
        except OverflowError:
            found = np.inf
    if not 0 <= found < np.inf:
        raise InputError(f"{name} is {value!r}: expected a finite number of at least 0")
    return found


def _choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise InputError(f"{name} is {value!r}: expected one of {', '.join(map(repr, choices))}")
    return str(value)


def seed_of(random_state: Any) -> int:
    """The seed of lowbit's own generator: an integer is itself, so that the command line's --seed gives the same."""
    if random_state is None:
        return int(np.random.default_rng().integers(1 << 63))
    if isinstance(random_state, numbers.Integral):
        return _whole("random_state", random_state, 0, (1 << 64) - 1)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(0, 1 << 31))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(1 << 63))
    raise InputError(f"random_state is {random_state!r}: expected None, an integer, a RandomState or a Generator")


class _Estimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """What both estimators share."""

    # Starts of init="random" when n_init is "auto".
    _random_starts = 10

    def _settings(self, x: np.ndarray | None) -> dict[str, Any]:
        """The library's settings; `x` are the points of a fit, whose first centroids count too."""
        init: Any = "k-means++"
        seed = 0
        starts = 1
        if x is not None:
            # A fit that is resumed has to draw as it did when it began.
            kept = getattr(self, "checkpoint", None) is not None
            seed = 0 if kept and self.random_state is None else seed_of(self.random_state)
            init = self._init(x, seed)
            named = isinstance(self.init, str)
            if isinstance(self.n_init, str):
                _choice("n_init", self.n_init, ("auto",))
                random = callable(self.init) or (named and self.init == "random")
                starts = self._random_starts if random else 1
            else:
                starts = _whole("n_init", self.n_init, 1)
            if not named and not callable(self.init) and starts > 1:
                warnings.warn(
                    f"Explicit initial center position passed: performing only one init in {type(self).__name__} instead of "
                    f"n_init={starts}.",
                    RuntimeWarning,
                    stacklevel=3,
                )
                starts = 1
        return {
            "k": _whole("n_clusters", self.n_clusters, 1),
            "init": init,
            "metric": _choice("metric", self.metric, ("euclidean", "cosine", "dot")),
            "empty": _choice("empty", getattr(self, "empty", "farthest"), ("farthest", "split-largest", "keep")),
            "n_init": starts,
            "seed": seed,
            "max_iter": _whole("max_iter", self.max_iter, 1),
            "tol": _number("tol", self.tol),
            "memory": None if self.memory is None else _whole("memory", self.memory, 1, (1 << 44) - 1) << 20,
            "adapter": None if self.adapter is None else str(self.adapter),
        }

    def _init(self, x: np.ndarray, seed: int) -> Any:
        if isinstance(self.init, str):
            return _choice("init", self.init, _INITS)
        given = self.init
        if callable(given):
            given = given(x, self.n_clusters, random_state=np.random.RandomState(seed % (1 << 32)))
        given = as_float32(given)
        expected = (self.n_clusters, x.shape[1])
        if given.ndim != 2 or given.shape[0] != expected[0]:
            raise InputError(
                f"The shape of the initial centers {given.shape} does not match the number of clusters {self.n_clusters}."
            )
        if given.shape[1] != expected[1]:
            raise InputError(
                f"The shape of the initial centers {given.shape} does not match the number of features of the data {x.shape[1]}."
            )
        return given

    def _check_enough(self, x: np.ndarray) -> None:
        if x.shape[0] < self.n_clusters:
            raise InputError(f"n_samples={x.shape[0]} should be >= n_clusters={self.n_clusters}.")

    def _take(self, fitted: dict[str, Any]) -> None:
        """Keeps what a fit gave."""
        for notice in fitted["notices"]:
            _LOG.info("%s", notice)
        if fitted["distinct_clusters"] < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({fitted['distinct_clusters']}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.cluster_centers_ = fitted["cluster_centers"]
        self.labels_ = fitted["labels"]
        self.inertia_ = float(fitted["inertia"])
        self.n_iter_ = int(fitted["n_iter"])
        self._n_features_out = self.cluster_centers_.shape[0]

    def fit_predict(self, X: Any, y: Any = None, **params: Any) -> np.ndarray:
        """Fits, and gives the clusters of the same points.

        Returns
        -------
        labels : ndarray of int32, shape (n_samples,)
        """
        labels: np.ndarray = self.fit(X, y, **params).labels_
        return labels

    def predict(self, X: Any) -> np.ndarray:
        """The cluster of each point: the one whose centroid is nearest.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of int32, shape (n_samples,)
        """
        return self._predict(X)[0]

    def _predict(self, X: Any) -> tuple[np.ndarray, float]:
        check_is_fitted(self)
        x = points(self, X, reset=False)
        return _lowbit.kmeans_predict(rows_of(x), self._settings(None), as_float32(self.cluster_centers_))

    def transform(self, X: Any) -> np.ndarray:
        """The distance of each point to each centroid, by the metric.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)

        Returns
        -------
        distances : ndarray of float32, shape (n_samples, n_clusters)
        """
        check_is_fitted(self)
        x = points(self, X, reset=False)
        return _lowbit.kmeans_transform(rows_of(x), self._settings(None), as_float32(self.cluster_centers_))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The negative inertia of points: the sum of their squared distances to their centroids (of the metric's, for others).

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like, shape (n_samples,), optional

        Returns
        -------
        score : float
        """
        labels, inertia = self._predict(X)
        if sample_weight is None:
            return -inertia
        weights = _weights(sample_weight, len(labels))
        distances = self.transform(X)[np.arange(len(labels)), labels].astype(np.float64)
        if self.metric == "euclidean":
            distances *= distances
        return -float(np.sum(distances * weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.sparse = False
        return tags


def _weights(sample_weight: Any, count: int) -> np.ndarray:
    if isinstance(sample_weight, numbers.Real):
        return np.full(count, sample_weight, dtype=np.float32)
    weights = as_float32(sample_weight)
    if weights.ndim != 1:
        raise InputError("Sample weights must be 1D array or scalar")
    if weights.shape != (count,):
        raise InputError(f"sample_weight.shape == {weights.shape}, expected {(count,)}!")
    if not weights.any():
        raise InputError("Sample weights are zero for all points: at least n_clusters of them must be above.")
    return weights


class KMeans(_Estimator):
    """Exact k-means (Lloyd's algorithm) on any GPU, with scikit-learn's parameters and attributes.

    Parameters
    ----------
    n_clusters : int, default=8
        How many clusters there are.
    init : {"k-means++", "k-means||", "random"}, callable or array-like of shape (n_clusters, n_features)
        Where the first centroids come from. "k-means||" reads the points six times, however many clusters there are.
    n_init : "auto" or int, default="auto"
        How many starts are tried, of which that of the least inertia counts. "auto" is 10 for "random" and for a callable, and 1
        otherwise. A callable is asked once.
    max_iter : int, default=300
        The most iterations.
    tol : float, default=1e-4
        The loop ends when the centroids' squared shifts sum to this times the mean variance of the columns.
    verbose : int, default=0
        Above 0, each group of iterations is printed.
    random_state : int, RandomState, Generator or None, default=None
        An integer is the seed of the command line's ``--seed``. None draws anew in each fit, and is 0 with a checkpoint.
    copy_x : bool, default=True
        For scikit-learn's sake: points are never changed.
    algorithm : {"lloyd", "elkan"}, default="lloyd"
        For scikit-learn's sake: the result is that of both.
    metric : {"euclidean", "cosine", "dot"}, default="euclidean"
        What "near" means. Of "cosine" rows count by their direction alone, and centroids are unit vectors.
    adapter : str or None, default=None
        The adapter with this in its name (see :func:`lowbit.devices`).
    memory : int or None, default=None
        MiB of the device's memory that points may take. What does not fit is sent again in each iteration; the result is the same.
    empty : {"farthest", "split-largest", "keep"}, default="farthest"
        What becomes of a cluster without points.
    checkpoint : path-like or None, default=None
        A file in which a fit keeps its state every minute and when it is interrupted, and from which it goes on if it is there. It
        is removed when the fit ends.
    progress : callable, True or None, default=None
        Called with a dict between groups of iterations (``step``, ``n_iter``, ``changed``, ``shift``, ``inertia``); True shows a bar
        of tqdm.

    Attributes
    ----------
    cluster_centers_ : ndarray of float32, shape (n_clusters, n_features)
    labels_ : ndarray of int32, shape (n_samples,)
    inertia_ : float
        Sum of the squared distances of the points to their centroids (distances for other metrics), times their weights.
    n_iter_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
        Where points had names.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: Any = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
        metric: str = "euclidean",
        adapter: str | None = None,
        memory: int | None = None,
        empty: str = "farthest",
        checkpoint: Any = None,
        progress: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.metric = metric
        self.adapter = adapter
        self.memory = memory
        self.empty = empty
        self.checkpoint = checkpoint
        self.progress = progress

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> KMeans:
        """Finds the clusters of points.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)
            float32, float16, uint8 and int8 go in as they are, without a copy if they are C-contiguous, and a memory map is read as a
            file; other numbers become float32.
        y : ignored
        sample_weight : array-like, shape (n_samples,), optional
            How often each point counts.

        Returns
        -------
        self : KMeans
        """
        _choice("algorithm", self.algorithm, ("lloyd", "elkan"))
        _whole("n_clusters", self.n_clusters, 1)
        x = points(self, X, reset=True)
        self._check_enough(x)
        settings = self._settings(x)
        weights = None if sample_weight is None else _weights(sample_weight, x.shape[0])
        kept = None
        if self.checkpoint is not None:
            path = os.fspath(self.checkpoint)
            kept = {"path": path, "seconds": _KEEP_EVERY, "resume": os.path.exists(path)}
        with told(self.progress, self.verbose, self.max_iter) as tell:
            self._take(_lowbit.kmeans_fit(rows_of(x), settings, weights, kept, tell))
        return self


class MiniBatchKMeans(_Estimator):
    """k-means from random batches (Sculley 2010), with scikit-learn's parameters, rules and attributes; without sample weights.

    Parameters
    ----------
    n_clusters : int, default=8
    init : {"k-means++", "k-means||", "random"}, callable or array-like of shape (n_clusters, n_features)
    max_iter : int, default=100
        The most iterations, of as many batches as a pass over the points has.
    batch_size : int, default=1024
        Points of a batch.
    verbose : int, default=0
    compute_labels : bool, default=True
        For scikit-learn's sake: labels come with the inertia, which is always computed.
    random_state : int, RandomState, Generator or None, default=None
    tol : float, default=0.0
        Above 0, the loop ends when the centroids' squared shifts are within this times the mean variance of the columns.
    max_no_improvement : int or None, default=10
        Batches without a better inertia after which the loop ends.
    init_size : int or None, default=None
        Points that the first centroids are chosen among; three batches, and no fewer than three for each cluster, if None.
    n_init : "auto" or int, default="auto"
    reassignment_ratio : float, default=0.01
        Centroids with fewer points than this times those of the largest are chosen anew.
    metric, adapter, memory, progress
        As :class:`KMeans` has them.

    Attributes
    ----------
    cluster_centers_, labels_, inertia_, n_iter_, n_features_in_, feature_names_in_
        As :class:`KMeans` has them; after ``partial_fit`` labels and inertia are those of the last batch.
    """

    _random_starts = 3

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: Any = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: Any = "auto",
        reassignment_ratio: float = 0.01,
        metric: str = "euclidean",
        adapter: str | None = None,
        memory: int | None = None,
        progress: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
        self.metric = metric
        self.adapter = adapter
        self.memory = memory
        self.progress = progress

    def _learner(self, settings: dict[str, Any]) -> Any:
        return _lowbit.MiniBatch(
            settings,
            _whole("batch_size", self.batch_size, 1, (1 << 63) - 1),
            None if self.max_no_improvement is None else _whole("max_no_improvement", self.max_no_improvement, 0),
            None if self.init_size is None else _whole("init_size", self.init_size, 1, (1 << 63) - 1),
            _number("reassignment_ratio", self.reassignment_ratio),
        )

    def fit(self, X: Any, y: Any = None) -> MiniBatchKMeans:
        """Finds the clusters of points from random batches of them.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self : MiniBatchKMeans
        """
        _whole("n_clusters", self.n_clusters, 1)
        x = points(self, X, reset=True)
        self._check_enough(x)
        learner = self._learner(self._settings(x))
        self._live = None
        with told(self.progress, self.verbose, self.max_iter) as tell:
            self._take(learner.fit(rows_of(x), tell))
        return self

    def partial_fit(self, X: Any, y: Any = None) -> MiniBatchKMeans:
        """Learns from one more batch.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)
            The first batch chooses the first centroids, and has at least as many points as there are clusters.
        y : ignored

        Returns
        -------
        self : MiniBatchKMeans
        """
        _whole("n_clusters", self.n_clusters, 1)
        live = getattr(self, "_live", None)
        x = points(self, X, reset=live is None and not hasattr(self, "cluster_centers_"))
        if live is None:
            settings = self._settings(x)
            if hasattr(self, "cluster_centers_"):
                settings["init"] = as_float32(self.cluster_centers_)
            else:
                self._check_enough(x)
            live = self._learner(settings)
        live.partial_fit(rows_of(x))
        self._live = live
        self.cluster_centers_ = live.cluster_centers()
        self._n_features_out = self.cluster_centers_.shape[0]
        self.n_iter_ = getattr(self, "n_iter_", 0) + 1
        self.labels_, self.inertia_ = _lowbit.kmeans_predict(rows_of(x), self._settings(None), self.cluster_centers_)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # What a device's library has learnt stays in this process; partial_fit then goes on from the centroids.
        parent: Any = super()
        # Before Python 3.11 only scikit-learn's estimators have it.
        state: dict[str, Any] = dict(parent.__getstate__() if hasattr(parent, "__getstate__") else self.__dict__)
        state.pop("_live", None)
        return state


if not HAS_SKLEARN:
    del _Estimator.__sklearn_tags__
