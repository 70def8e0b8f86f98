"""What estimators are made of: scikit-learn's own classes and checks where it is installed, the least of them otherwise."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import errors
from ._arrays import KEPT, as_array, laid, refuse_beyond, refuse_kind, refuse_masked, to_float32
from .errors import InputError

__all__ = [
    "HAS_SKLEARN",
    "BaseEstimator",
    "ClassNamePrefixFeaturesOutMixin",
    "ClusterMixin",
    "ConvergenceWarning",
    "NotFittedError",
    "TransformerMixin",
    "check_is_fitted",
    "points",
    "seen_if_learnt",
]

try:
    from sklearn.base import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        ClusterMixin,
        TransformerMixin,
    )
    from sklearn import exceptions
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.validation import validate_data

    HAS_SKLEARN = True

    class NotFittedError(errors.NotFittedError, exceptions.NotFittedError):
        """Both lowbit's and scikit-learn's."""

except ImportError:
    HAS_SKLEARN = False

    NotFittedError = errors.NotFittedError  # type: ignore[misc, assignment]

    class ConvergenceWarning(UserWarning):  # type: ignore[no-redef]
        """Fewer clusters than were asked for."""

    class BaseEstimator:  # type: ignore[no-redef]
        """Parameters by name."""

        @classmethod
        def _names(cls) -> list[str]:
            return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

        def get_params(self, deep: bool = True) -> dict[str, Any]:
            """The parameters, by name."""
            return {name: getattr(self, name) for name in self._names()}

        def set_params(self, **params: Any) -> Any:
            """Sets parameters by name."""
            for name, value in params.items():
                if name not in self._names():
                    raise InputError(f"Invalid parameter {name!r} for estimator {self!r}.")
                setattr(self, name, value)
            return self

        def __repr__(self) -> str:
            given = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
            return f"{type(self).__name__}({given})"

    class ClusterMixin:  # type: ignore[no-redef]
        """Nothing but the place of scikit-learn's."""

    class TransformerMixin:  # type: ignore[no-redef]
        """Fits and transforms."""

        def fit_transform(self: Any, X: Any, y: Any = None, **params: Any) -> Any:
            """Fits, and gives the distances of the same points."""
            return self.fit(X, y, **params).transform(X)

    class ClassNamePrefixFeaturesOutMixin:  # type: ignore[no-redef]
        """Names of what transform gives."""

        def get_feature_names_out(self: Any, input_features: Any = None) -> np.ndarray:
            """``kmeans0``, ``kmeans1`` and so on."""
            names = [f"{type(self).__name__.lower()}{i}" for i in range(self._n_features_out)]
            return np.asarray(names, dtype=object)


def check_is_fitted(estimator: Any) -> None:
    """Refuses an estimator without centroids."""
    if not hasattr(estimator, "cluster_centers_"):
        raise NotFittedError(
            f"This {type(estimator).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments "
            "before using this estimator."
        )


def points(estimator: Any, X: Any, *, reset: bool) -> np.ndarray:
    """`X` as a matrix of a kind of number that the library takes; `reset` if it says what others have to look like."""
    refuse_masked(X)
    refuse_kind("X", getattr(X, "dtype", None))
    if not HAS_SKLEARN:
        return _points(estimator, X, reset)
    if not isinstance(X, np.ndarray) and not hasattr(X, "__array__") and hasattr(X, "__dlpack__"):
        X = np.from_dlpack(X)
    # Whether all are finite is seen when the library reads them, and what float32 does not hold below.
    with np.errstate(over="ignore"):
        x: np.ndarray = validate_data(
            estimator,
            X,
            reset=reset,
            accept_sparse=False,
            dtype=list(KEPT),
            order="C",
            ensure_all_finite=False,
        )
    refuse_beyond("X", X, x)
    return x


@contextlib.contextmanager
def seen_if_learnt(estimator: Any) -> Iterator[None]:
    """What the points are like is kept if they were learnt from: a fit that failed leaves the estimator as it was."""
    names = ("n_features_in_", "feature_names_in_")
    before = {name: of for name, of in vars(estimator).items() if name in names}
    try:
        yield
    except BaseException:
        for name in names:
            vars(estimator).pop(name, None)
        vars(estimator).update(before)
        raise


def _points(estimator: Any, X: Any, reset: bool) -> np.ndarray:
    if hasattr(X, "toarray"):
        raise TypeError("Sparse data was passed, but dense data is required. Use '.toarray()' to convert to a dense numpy array.")
    x = as_array(X)
    if np.iscomplexobj(x):
        raise InputError(f"Complex data not supported\n{x}\n")
    if x.dtype not in KEPT:
        x = to_float32("X", x)
    if x.ndim != 2:
        raise InputError(f"Expected 2D array, got {x.ndim}D array instead. Reshape your data.")
    if 0 in x.shape:
        raise InputError(f"Found array with {x.shape[0]} sample(s) and {x.shape[1]} feature(s) while a minimum of 1 is required.")
    if reset:
        estimator.n_features_in_ = x.shape[1]
    elif x.shape[1] != estimator.n_features_in_:
        raise InputError(
            f"X has {x.shape[1]} features, but {type(estimator).__name__} is expecting {estimator.n_features_in_} features as input."
        )
    return laid(x, x.dtype)
