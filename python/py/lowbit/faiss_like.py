"""k-means with the habits of ``faiss.Kmeans``."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np

from . import _lowbit
from ._arrays import rows_of, with_nearest
from ._checks import COUNT, adapter_of, floats, numbers_of, seed_of, settings_of, whole
from ._progress import told
from .errors import InputError, NotFittedError

__all__ = ["Kmeans"]

_LOG = logging.getLogger("lowbit")


class Kmeans:
    """k-means with the parameters and attributes of ``faiss.Kmeans``.

    Two things differ: there is no attribute ``index``, since nothing is left on the device (:meth:`assign` finds the nearest
    centroids), and ``niter=0`` is refused, which for FAISS means centroids as they were chosen.

    Parameters
    ----------
    d : int
        Dimensions.
    k : int
        Clusters.
    niter : int, default=25
        Most iterations, at least 1. It ends before where no label changes any more: nothing would change after that.
    nredo : int, default=1
        Starts, of which the one of least objective counts.
    spherical : bool, default=False
        Spherical k-means: points count by their direction alone, and centroids are unit vectors. FAISS weighs directions by
        the points' lengths; for points of unit length both are the same.
    seed : int, RandomState, Generator or None, default=1234
    verbose : bool, default=False
        Whether iterations are printed.
    max_points_per_centroid : int or None, default=256
        A sample of so many points for each centroid is clustered; all points if None.
    min_points_per_centroid : int, default=39
        With fewer a warning is given.
    frozen_centroids : bool, default=False
        Whether the `init_centroids` of :meth:`train` stay where they are: some of the `k`, of which the others are fitted.
    adapter : str, optional
        A part of the name of the adapter to run on. There is no `gpu`: lowbit always runs on a device.

    Attributes
    ----------
    centroids : ndarray of float32, shape (k, d), or None
    obj : ndarray of float64, shape (iterations,), or None
        The sum of squared distances (of 1 - cosine if spherical) that each iteration of the best start found.
    iteration_stats : list of dict, or None
        ``obj`` of each iteration and ``time``, the mean of all in seconds; of the last one ``imbalance_factor`` too.
    """

    def __init__(
        self,
        d: int,
        k: int,
        niter: int = 25,
        nredo: int = 1,
        spherical: bool = False,
        seed: Any = 1234,
        verbose: bool = False,
        max_points_per_centroid: int | None = 256,
        min_points_per_centroid: int = 39,
        frozen_centroids: bool = False,
        *,
        adapter: str | None = None,
    ) -> None:
        self.d = whole("d", d, 1)
        self.k = whole("k", k, 1)
        self.niter = whole("niter", niter, 1, COUNT)
        self.nredo = whole("nredo", nredo, 1, COUNT)
        self.spherical = bool(spherical)
        self.seed = seed_of("seed", seed)
        self.verbose = bool(verbose)
        most = max_points_per_centroid
        self.max_points_per_centroid = None if most is None else whole("max_points_per_centroid", most, 1)
        self.min_points_per_centroid = whole("min_points_per_centroid", min_points_per_centroid)
        self.frozen_centroids = bool(frozen_centroids)
        self.adapter = adapter_of(adapter)
        self.centroids: np.ndarray | None = None
        self.obj: np.ndarray | None = None
        self.iteration_stats: list[dict[str, float]] | None = None

    def _points(self, x: Any) -> np.ndarray:
        points = numbers_of("x", x, (2,))
        if points.shape[1] != self.d:
            raise InputError(f"x: its rows have {points.shape[1]} values, and d is {self.d}")
        return points

    def train(self, x: Any, weights: Any = None, init_centroids: Any = None) -> float:
        """Clusters points.

        Parameters
        ----------
        x : array_like, shape (n, d)
            Points. float32, float16, uint8 and int8 go in as they are, other numbers become float32.
        weights : array_like, shape (n,), optional
            What each counts.
        init_centroids : array_like, shape (k, d), optional
            The first centroids; `k` different points if not given. Of `frozen_centroids` there may be fewer, and the first centroids
            of the others are points.

        Returns
        -------
        obj : float
            The objective of the last iteration.
        """
        points = self._points(x)
        given = frozen = None
        if self.frozen_centroids:
            if init_centroids is None:
                raise InputError("init_centroids: frozen_centroids=True needs those that stay where they are")
            frozen = floats("init_centroids", init_centroids, 2)
            if frozen.shape[0] > self.k or frozen.shape[1] != self.d:
                raise InputError(
                    f"init_centroids: the shape is {frozen.shape}, and at most {self.k} rows of {self.d} values are expected"
                )
        elif init_centroids is not None:
            given = floats("init_centroids", init_centroids, 2)
            if given.shape != (self.k, self.d):
                raise InputError(f"init_centroids: the shape is {given.shape}, and {(self.k, self.d)} is expected")
        of_points = None
        if weights is not None:
            of_points = floats("weights", weights, 1)
            if of_points.shape != (len(points),):
                raise InputError(f"weights: there are {len(of_points)} for {len(points)} points")
        if self.k <= len(points) < self.k * self.min_points_per_centroid:
            warnings.warn(
                f"clustering {len(points)} points to {self.k} centroids: please provide at least "
                f"{self.k * self.min_points_per_centroid} training points",
                stacklevel=2,
            )
        settings = {
            "k": self.k,
            "niter": self.niter,
            "nredo": self.nredo if given is None else 1,
            "spherical": self.spherical,
            "seed": self.seed,
            "subsample": self.max_points_per_centroid,
            "init": given,
            "frozen": frozen,
            "adapter": self.adapter,
        }
        with told(None, self.verbose, self.niter) as callback:
            fitted = _lowbit.faiss_fit(rows_of(points), settings, of_points, callback)
        for notice in fitted["notices"]:
            _LOG.info("%s", notice)
        self.centroids = fitted["centroids"]
        self.obj = fitted["history"]
        stats = [{"obj": float(obj), "time": fitted["seconds_per_iteration"]} for obj in fitted["history"]]
        if stats:
            stats[-1]["imbalance_factor"] = fitted["imbalance"]
        self.iteration_stats = stats
        return float(fitted["history"][-1]) if stats else float(fitted["inertia"])

    def assign(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """The nearest centroids.

        Parameters
        ----------
        x : array_like, shape (n, d)

        Returns
        -------
        D : ndarray of float32, shape (n,)
            Squared distances; inner products if spherical.
        I : ndarray of int64, shape (n,)
            The centroids' numbers.
        """
        if self.centroids is None:
            raise NotFittedError("this Kmeans is not trained yet: call train")
        points = self._points(x)
        settings = settings_of(self.k, "cosine" if self.spherical else "euclidean", None, self.adapter)
        labels, _ = _lowbit.kmeans_predict(rows_of(points), settings, self.centroids)
        distances = np.empty(len(points), dtype=np.float32)
        for rows, part, nearest in with_nearest(points, self.centroids, labels):
            found = part * nearest if self.spherical else (part - nearest) ** 2
            distances[rows] = found.sum(axis=1)
        return distances, labels.astype(np.int64)
