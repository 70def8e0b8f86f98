"""k-means as scikit-learn's users know it."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
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
    seen_if_learnt,
)
from ._checks import COUNT, INITS, choice, number, path_of, seed_of, settings_of, weights_of, whole
from ._progress import told
from .errors import InputError

__all__ = ["KMeans", "MiniBatchKMeans"]

_LOG = logging.getLogger("lowbit")
# Seconds between two states that are kept.
_KEEP_EVERY = 60.0


class _Estimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """What both estimators share."""

    # Parameters of both.
    n_clusters: int
    init: Any
    n_init: Any
    metric: Any
    memory: Any
    adapter: Any
    max_iter: int
    tol: float
    random_state: Any
    # What `init` is called.
    _inits: tuple[str, ...] = ("k-means++", "k-means||", "random")
    # Starts of init="random" when n_init is "auto".
    _random_starts = 10

    def _settings(self, x: np.ndarray) -> dict[str, Any]:
        """The library's settings of a fit of `x`; `init` may be a callable, which :meth:`_starts` asks."""
        # A fit that is resumed has to draw as it did when it began.
        kept = getattr(self, "checkpoint", None) is not None
        seed = 0 if kept and self.random_state is None else seed_of("random_state", self.random_state)
        named, asked = isinstance(self.init, str), callable(self.init)
        init, frozen = self.init, self._frozen(x)
        if named:
            init = choice("init", init, self._inits)
        elif not asked:
            init = self._centers(init, x)
        # What is kept is of one start.
        once = not named and (kept or not asked)
        if isinstance(self.n_init, str):
            choice("n_init", self.n_init, ("auto",))
            many = asked or (named and init == "random")
            starts = self._random_starts if many and not once else 1
        else:
            starts = whole("n_init", self.n_init, 1, COUNT)
        if once and starts > 1:
            warnings.warn(
                f"Explicit initial center position passed: performing only one init in {type(self).__name__} instead of "
                f"n_init={starts}.",
                RuntimeWarning,
                stacklevel=3,
            )
            starts = 1
        return settings_of(
            whole("n_clusters", self.n_clusters, 1),
            self.metric,
            self.memory,
            self.adapter,
            init=init,
            frozen=frozen,
            empty=choice("empty", getattr(self, "empty", "farthest"), ("farthest", "split-largest", "keep")),
            balanced=bool(getattr(self, "balanced", False)),
            n_init=starts,
            seed=seed,
            max_iter=whole("max_iter", self.max_iter, 1, COUNT),
            tol=number("tol", self.tol, 0),
        )

    def _starts(self, settings: dict[str, Any], x: np.ndarray) -> Iterator[dict[str, Any]]:
        """The settings of each start where `init` is a callable, and of all otherwise."""
        others = settings["k"] - (0 if settings["frozen"] is None else len(settings["frozen"]))
        if not callable(settings["init"]):
            yield settings
            return
        random = np.random.RandomState(settings["seed"] % (1 << 32))
        for _ in range(settings["n_init"]):
            init = self._centers(settings["init"](x, others, random_state=random), x)
            yield {**settings, "init": init, "n_init": 1}

    def _asking(self) -> dict[str, Any]:
        """The settings of what is asked of centroids: parameters of a fit have no part in it."""
        return settings_of(len(self.cluster_centers_), self.metric, self.memory, self.adapter)

    def _frozen(self, x: np.ndarray) -> np.ndarray | None:
        """Centroids that stay where they are in a fit of `x`, if there are any."""
        given = getattr(self, "frozen", None)
        if given is None:
            return None
        frozen = as_float32(given, "frozen")
        if frozen.ndim != 2 or not 1 <= frozen.shape[0] <= self.n_clusters or frozen.shape[1] != x.shape[1]:
            raise InputError(
                f"frozen: the shape is {frozen.shape}, and from 1 to {self.n_clusters} rows of {x.shape[1]} values are expected"
            )
        return frozen

    def _centers(self, given: Any, x: np.ndarray) -> np.ndarray:
        """First centroids that were given for `x`."""
        centers, frozen = as_float32(given, "init"), self._frozen(x)
        stay = 0 if frozen is None else len(frozen)
        expected = (self.n_clusters - stay, x.shape[1])
        if centers.ndim != 2 or centers.shape[0] != expected[0]:
            beside = f", {stay} of them frozen" if stay else ""
            raise InputError(
                f"The shape of the initial centers {centers.shape} does not match the number of clusters {self.n_clusters}{beside}."
            )
        if centers.shape[1] != expected[1]:
            raise InputError(
                f"The shape of the initial centers {centers.shape} does not match the number of features of the data {x.shape[1]}."
            )
        return centers

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
        check_is_fitted(self)
        return self._predict(points(self, X, reset=False))[0]

    def _predict(self, x: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, float]:
        return _lowbit.kmeans_predict(rows_of(x), self._asking(), as_float32(self.cluster_centers_), weights)

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
        return _lowbit.kmeans_transform(rows_of(x), self._asking(), as_float32(self.cluster_centers_))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The negative inertia of points: the sum of their squared distances to their centroids (of the metric's, for others).

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like, shape (n_samples,), optional
            How often each point counts: finite, at least 0, and above for one of them.

        Returns
        -------
        score : float
        """
        check_is_fitted(self)
        x = points(self, X, reset=False)
        return -self._predict(x, weights_of(sample_weight, len(x)))[1]

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The names of what transform gives: ``kmeans0``, ``kmeans1`` and so on.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        names : ndarray of str
        """
        check_is_fitted(self)
        names: np.ndarray = super().get_feature_names_out(input_features)
        return names

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.sparse = False
        return tags


class KMeans(_Estimator):
    """Exact k-means (Lloyd's algorithm) on any GPU, with scikit-learn's parameters and attributes.

    Parameters
    ----------
    n_clusters : int, default=8
        How many clusters there are.
    init : {"k-means++", "k-means||", "bisecting", "two-level", "random"}, callable or array-like of shape (n_clusters, n_features)
        Where the first centroids come from. "k-means||" reads the points six times, however many clusters there are. "bisecting"
        makes two of the part of the points with the largest inertia, again and again; "two-level" makes sqrt(n_clusters) parts, and
        clusters of each, for very many clusters.
    n_init : "auto" or int, default="auto"
        How many starts are tried, of which that of the least inertia counts. "auto" is 10 for "random" and for a callable, and 1
        otherwise. A callable is asked for each start; with a checkpoint there is one.
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
    balanced : bool, default=False
        Whether all clusters get equally many points, by one at most, near to the least inertia that this allows. ``labels_`` are then
        not always the nearest centroids', which ``predict`` gives. Not with weights or a checkpoint.
    frozen : array-like of shape (n_frozen, n_features) or None, default=None
        Centroids that stay where they are, the first of the `n_clusters`: `init` chooses the others. For "cosine" they become unit
        vectors.
    checkpoint : path-like or None, default=None
        A file in which a fit keeps its state every minute and when it is interrupted, and from which it goes on if it is there. It
        is removed when the fit ends.
    progress : callable, True or None, default=None
        Called with a dict between groups of iterations (``step``, ``n_iter``, ``changed``, ``shift``, ``inertia``), from a thread of
        lowbit's own; what it raises ends the fit. True shows a bar of tqdm.

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

    _inits = INITS

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
        balanced: bool = False,
        frozen: Any = None,
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
        self.balanced = balanced
        self.frozen = frozen
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
        choice("algorithm", self.algorithm, ("lloyd", "elkan"))
        whole("n_clusters", self.n_clusters, 1)
        with seen_if_learnt(self):
            x = points(self, X, reset=True)
            self._check_enough(x)
            settings = self._settings(x)
            weights = weights_of(sample_weight, len(x))
            kept = None
            if self.checkpoint is not None:
                path = path_of("checkpoint", self.checkpoint)
                kept = {"path": path, "seconds": _KEEP_EVERY, "resume": os.path.exists(path)}
            with told(self.progress, self.verbose, self.max_iter) as tell:
                fits = (_lowbit.kmeans_fit(rows_of(x), start, weights, kept, tell) for start in self._starts(settings, x))
                self._take(min(fits, key=lambda fitted: float(fitted["inertia"])))
        if kept is not None:
            # The next fit is another one.
            with contextlib.suppress(FileNotFoundError):
                os.remove(path_of("checkpoint", self.checkpoint))
        return self


class MiniBatchKMeans(_Estimator):
    """k-means from random batches (Sculley 2010), with scikit-learn's parameters, rules and attributes.

    Parameters
    ----------
    n_clusters : int, default=8
    init : {"k-means++", "k-means||", "random"}, callable or array-like of shape (n_clusters, n_features)
    max_iter : int, default=100
        The most iterations, of as many batches as a pass over the points has.
    batch_size : int, default=1024
        Points of a batch.
    verbose : int, default=0
        Above 0, each group of iterations of ``fit`` is printed.
    compute_labels : bool, default=True
        If False, ``partial_fit`` leaves no ``labels_`` and ``inertia_``, and spares the pass over the batch that they take. ``fit``
        always has both, which come with its choice of centroids.
    random_state : int, RandomState, Generator or None, default=None
    tol : float, default=0.0
        Above 0, the loop ends when the centroids' squared shifts are within this times the mean variance of the columns.
    max_no_improvement : int or None, default=10
        Batches without a better inertia after which the loop ends.
    init_size : int or None, default=None
        Points that the first centroids are chosen among; three batches, and no fewer than three for each cluster, if None.
    n_init : "auto" or int, default="auto"
        How many choices of first centroids are tried, of which that of the least inertia on a sample counts. "auto" is 3 for
        "random" and for a callable, and 1 otherwise. A callable is asked for each; ``partial_fit`` asks it once.
    reassignment_ratio : float, default=0.01
        Centroids with fewer points than this times those of the largest are chosen anew.
    metric, adapter, memory, progress
        As :class:`KMeans` has them. ``partial_fit`` tells nothing: `verbose` and `progress` are for ``fit``.

    Attributes
    ----------
    cluster_centers_, labels_, inertia_, n_iter_, n_features_in_, feature_names_in_
        As :class:`KMeans` has them; after ``partial_fit`` labels and inertia are those of the last batch. ``n_iter_`` is of ``fit``
        alone: passes over its points.
    n_steps_ : int
        Batches that were learnt from, by ``fit`` and by every ``partial_fit`` since.
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
        most = (1 << 63) - 1
        return _lowbit.MiniBatch(
            settings,
            whole("batch_size", self.batch_size, 1, most),
            None if self.max_no_improvement is None else whole("max_no_improvement", self.max_no_improvement, 0, COUNT),
            None if self.init_size is None else whole("init_size", self.init_size, 1, most),
            number("reassignment_ratio", self.reassignment_ratio, 0),
        )

    def _best_start(self, settings: dict[str, Any], x: np.ndarray, weights: np.ndarray | None) -> dict[str, Any]:
        """The settings of the start that counts: what a callable gave is compared on a sample, as scikit-learn does it."""
        starts = list(self._starts(settings, x))
        if len(starts) == 1:
            return starts[0]
        size = self.init_size
        if size is None:
            size = max(3 * whole("batch_size", self.batch_size, 1), 3 * settings["k"])
        random = np.random.RandomState((settings["seed"] + 1) % (1 << 32))
        rows = random.randint(0, len(x), min(whole("init_size", size, 1), len(x)))
        sample, weighing = x[rows], None if weights is None else weights[rows]
        asking = settings_of(settings["k"], self.metric, self.memory, self.adapter)
        return min(starts, key=lambda start: _lowbit.kmeans_predict(rows_of(sample), asking, start["init"], weighing)[1])

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MiniBatchKMeans:
        """Finds the clusters of points from random batches of them.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like, shape (n_samples,), optional
            How often each point is drawn, and counts in the inertia.

        Returns
        -------
        self : MiniBatchKMeans
        """
        whole("n_clusters", self.n_clusters, 1)
        with seen_if_learnt(self):
            x = points(self, X, reset=True)
            self._check_enough(x)
            weights = weights_of(sample_weight, len(x))
            learner = self._learner(self._best_start(self._settings(x), x, weights))
            with told(self.progress, self.verbose, self.max_iter) as tell:
                fitted = learner.fit(rows_of(x), weights, tell)
                self._take(fitted)
        self._live: tuple[Any, Any] | None = None
        self._counts, self._metric = fitted["counts"], self.metric
        self.n_steps_ = int(fitted["n_steps"])
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> MiniBatchKMeans:
        """Learns from one more batch.

        What ``fit`` and the batches before found counts as it did when it was found, after a copy or a pickle too. Where `memory`,
        `adapter`, `reassignment_ratio` or `random_state` were changed since, they are heeded; changes of `n_clusters` and `metric`
        are refused.

        Parameters
        ----------
        X : array-like, shape (n_samples, n_features)
            The first batch chooses the first centroids, and has at least as many points as there are clusters.
        y : ignored
        sample_weight : array-like, shape (n_samples,), optional
            How often each point counts.

        Returns
        -------
        self : MiniBatchKMeans
        """
        k = whole("n_clusters", self.n_clusters, 1)
        learnt = hasattr(self, "_counts")
        if learnt and (k != len(self._counts) or self.metric != self._metric):
            raise InputError(
                f"n_clusters or metric changed: partial_fit goes on with {len(self._counts)} clusters and {self._metric!r}, and "
                f"{k} and {self.metric!r} are asked for; fit begins anew"
            )
        with seen_if_learnt(self):
            x = points(self, X, reset=not learnt)
            return self._learn(x, weights_of(sample_weight, len(x)), learnt)

    def _learn(self, x: np.ndarray, weights: np.ndarray | None, learnt: bool) -> MiniBatchKMeans:
        # What a learner of the library's has of the parameters.
        made = (self.memory, self.adapter, self.reassignment_ratio, self.random_state)
        before, learner = getattr(self, "_live", None) or (None, None)
        if learner is None or before != made:
            if learnt:
                learner = self._learner({**self._asking(), "seed": seed_of("random_state", self.random_state)})
                learner.resume(as_float32(self.cluster_centers_), self._counts)
            else:
                self._check_enough(x)
                learner = self._learner(next(self._starts(self._settings(x), x)))
        learner.partial_fit(rows_of(x), weights)
        self._live = (made, learner)
        self.cluster_centers_, self._counts, self._metric = learner.cluster_centers(), learner.counts(), self.metric
        self._n_features_out = len(self.cluster_centers_)
        self.n_steps_ = getattr(self, "n_steps_", 0) + 1
        if self.compute_labels:
            self.labels_, self.inertia_ = self._predict(x, weights)
        else:
            # Those of another batch would not be of this one.
            for name in ("labels_", "inertia_"):
                self.__dict__.pop(name, None)
        return self

    def __getstate__(self) -> dict[str, Any]:
        # A learner of the library's stays in this process; partial_fit goes on from the centroids and their counts.
        parent: Any = super()
        # Before Python 3.11 only scikit-learn's estimators have it.
        state: dict[str, Any] = dict(parent.__getstate__() if hasattr(parent, "__getstate__") else self.__dict__)
        state.pop("_live", None)
        return state


if not HAS_SKLEARN:
    del _Estimator.__sklearn_tags__
