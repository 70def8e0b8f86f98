"""Classifiers of ONNX files on a device, in float32 and in INT8, and what INT8 loses."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from . import _lowbit
from ._arrays import as_array
from ._audit import Audit, Bootstrap, Calibration, Check, Figures, Flips, Layer, Paired, Range, Tensor, Weights
from ._checks import adapter_of, floats, number, path_of, texts, whole
from ._records import made
from .errors import InputError, NotFittedError

__all__ = [
    "Audit",
    "Bootstrap",
    "Calibration",
    "Check",
    "Classifier",
    "Figures",
    "Flips",
    "Layer",
    "Paired",
    "Range",
    "Tensor",
    "Weights",
]

_LOG = logging.getLogger("lowbit")


class Classifier:
    """A classifier of an ONNX file on a device.

    Parameters
    ----------
    path : path_like
        The ONNX file.
    input, output : str, optional
        The names of the model's input and output, where it has several.
    adapter : str, optional
        A part of the name of the adapter to run on.

    Attributes
    ----------
    features : int
        Values of a row.
    shape : tuple of int
        The shape of a row; of pictures, channels first.
    outputs : int
        Values that it gives for each.
    sha256 : str
        Of the file.
    calibration : Calibration or None
        What :meth:`calibrate` found.

    Notes
    -----
    Pickles have the path of the file and the calibration; the file has to be there when they are read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        input: str | None = None,
        output: str | None = None,
        adapter: str | None = None,
    ) -> None:
        self.path = path_of("path", path)
        self.calibration: Calibration | None = None
        self.adapter = adapter_of(adapter)
        self._names = (input, output)
        self._open()

    def _open(self) -> None:
        self._model = _lowbit.Model(self.path, *self._names)
        about = self._model.describe()
        self.shape: tuple[int, ...] = tuple(about["shape"])
        self.features: int = about["features"]
        self.outputs: int = about["outputs"]
        self.sha256: str = about["sha256"]
        self._output: str = about["output"]

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("path", "calibration", "adapter", "_names")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __repr__(self) -> str:
        how = "f32" if self.calibration is None else f"int8 by {self.calibration.method}"
        return f"Classifier({self.path!r}, features={self.features}, outputs={self.outputs}, {how})"

    def _rows(self, x: Any) -> np.ndarray:
        array = floats("x", x, *range(2, 3 + len(self.shape)))
        if array.shape[1:] != self.shape and array.shape[1:] != (self.features,):
            raise InputError(f"x: its shape is {array.shape}, and a row of the model's input is {self.shape}: {self.features} values")
        return array.reshape(len(array), self.features)

    def calibrate(self, x: Any, method: str = "entropy") -> Classifier:
        """Finds the ranges that INT8 takes.

        Parameters
        ----------
        x : array_like, shape (n, features), or (n, ...) of the shape of the input
            Data as the model will see it, 64 rows or more.
        method : str, default="entropy"
            ``"entropy"``, ``"min-max"``, ``"percentile:99.99"`` or ``"mse"``.

        Returns
        -------
        self : Classifier
            `calibration` is set, and INT8 is what runs from now on.
        """
        if not isinstance(method, str):
            raise InputError(f"method is {method!r}: expected a text such as 'entropy'")
        rows = self._rows(x)
        found = self._model.calibrate(rows, method, self.adapter)
        more = {"_json": json.dumps(found["ranges"]), "_digest": _digest(rows)}
        self.calibration = made(Calibration, found, **more)
        return self

    def run(self, x: Any, int8: bool | None = None) -> np.ndarray:
        """The outputs.

        Parameters
        ----------
        x : array_like, shape (n, features), or (n, ...) of the shape of the input
        int8 : bool, optional
            Whether products are of INT8; if not given, they are once the classifier is calibrated.

        Returns
        -------
        outputs : ndarray of float32, shape (n, outputs)
        """
        rows = self._rows(x)
        quantized = self.calibration is not None if int8 is None else bool(int8)
        outputs: np.ndarray = self._model.run(rows, self._calibrated()._json if quantized else None, self.adapter)
        return outputs

    def predict(self, x: Any, int8: bool | None = None, threshold: float = 0.5) -> np.ndarray:
        """The classes, counted from 0.

        Parameters
        ----------
        x, int8
            As in :meth:`run`.
        threshold : float, default=0.5
            Of a model of one output: a probability above it is a 1. Of others the place of the largest output counts.

        Returns
        -------
        classes : ndarray of int64, shape (n,)
        """
        outputs = self.run(x, int8)
        if self.outputs == 1:
            return (outputs[:, 0] > np.float32(number("threshold", threshold))).astype(np.int64)
        return np.asarray(outputs.argmax(axis=1), dtype=np.int64)

    def audit(
        self,
        x: Any,
        y: Any,
        *,
        positive: Any = None,
        groups: Any = None,
        class_index: int | None = None,
        max_drop: float = 0.01,
        max_f1_drop: float = 0.01,
        max_recall_drop: float = 0.01,
        max_saturated: float = 0.05,
        max_flipped: float = 0.01,
        min_recall: float | None = None,
        only: Any = None,
        confidence: float = 0.95,
        threshold: float = 0.5,
        point: bool = False,
        replicates: int = 1000,
        seed: int = 0,
        progress: Callable[[str], None] | None = None,
    ) -> Audit:
        """Judges whether INT8 costs too much, as ``lowbit classify audit`` does. A failed audit is a result, not an error.

        Parameters
        ----------
        x : array_like, shape (n, features), or (n, ...) of the shape of the input
            Rows that calibration has not seen.
        y : array_like, shape (n,), or one-hot (n, 2)
            Their labels, of two values.
        positive : object, optional
            Which label is the positive class; the last one when sorted if not given.
        groups : array_like, shape (n,), optional
            Which print, layer or patient each row belongs to, if rows are not independent.
        class_index : int, optional
            Which output is the probability of a positive; the only one, or the second of two, if not given.
        max_drop, max_f1_drop, max_recall_drop : float, default=0.01
            The largest drops of the AUC, and at the threshold of F1 and the recall, that pass.
        max_saturated : float, default=0.05
            The largest share of a tensor's codes that its range may cut off.
        max_flipped : float, default=0.01
            The largest share of decisions that may differ.
        min_recall : float, optional
            A smaller recall of the INT8 model fails.
        only : str or sequence of str, optional
            The parts that decide: ``"auc"``, ``"f1"``, ``"recall"``, ``"saturation"``, ``"flips"``; all if not given.
        confidence : float, default=0.95
            Of the upper bounds, one-sided.
        threshold : float, default=0.5
            A probability above it is a positive.
        point : bool, default=False
            Whether the drops alone decide, however uncertain they are.
        replicates, seed : int, default=1000 and 0
            Of the bootstrap over groups.
        progress : callable, optional
            Called with what is being done, in words, from a thread of lowbit's own: what the caller's thread has for itself (thread
            locals, context variables, an event loop) is not there. What it raises ends the audit.

        Returns
        -------
        audit : Audit

        Raises
        ------
        NotFittedError
            If the classifier is not calibrated.
        """
        calibration = self._calibrated()
        rows = self._rows(x)
        labels, positive, negative = _labels(y, positive)
        settings = {
            "max_drop": number("max_drop", max_drop),
            "max_f1_drop": number("max_f1_drop", max_f1_drop),
            "max_recall_drop": number("max_recall_drop", max_recall_drop),
            "max_saturated": number("max_saturated", max_saturated),
            "max_flipped": number("max_flipped", max_flipped),
            "min_recall": None if min_recall is None else number("min_recall", min_recall),
            "only": None if only is None else texts("only", only),
            "confidence": number("confidence", confidence),
            "threshold": number("threshold", threshold),
            "point": bool(point),
            "replicates": whole("replicates", replicates, 1),
            "seed": whole("seed", seed),
            "class": self._class(class_index),
            "adapter": self.adapter,
        }
        of_groups = None if groups is None else _groups(groups)
        judgement, adapter, baseline, quantized, svg = self._model.audit(rows, labels, of_groups, calibration._json, settings, progress)
        judgement["warnings"] = judgement["warnings"] + calibration.warnings
        if _digest(rows) == calibration._digest:
            judgement["warnings"].append(
                "the test set is the calibration data: scales that fit it say little about other rows, so judge by rows that "
                "calibration has not seen"
            )
        more = {
            "positive": positive,
            "negative": negative,
            "class_index": settings["class"],
            "adapter": adapter,
            "baseline": baseline,
            "quantized": quantized,
            "roc_svg": svg,
        }
        return made(Audit, judgement, **more)

    def _calibrated(self) -> Calibration:
        if self.calibration is None:
            raise NotFittedError("this classifier is not calibrated yet: call calibrate with data as the model will see it")
        return self.calibration

    def _class(self, index: int | None) -> int:
        if index is not None:
            found = whole("class_index", index)
            if found < self.outputs:
                return found
            raise InputError(f"class_index is {found}: {self._output!r} has {self.outputs} outputs, counted from 0")
        if self.outputs > 2:
            raise InputError(
                f"{self._output!r} has {self.outputs} outputs: say which is the probability of a positive, as class_index=0"
            )
        return self.outputs - 1


def _digest(rows: np.ndarray) -> str:
    # The bytes where they lie: of more than one dimension they are no buffer that hashlib takes.
    return hashlib.sha256(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data).hexdigest() + str(rows.shape)


def _labels(y: Any, positive: Any) -> tuple[np.ndarray, Any, Any]:
    """Whether each label is the positive one, and both labels."""
    array = as_array(y)
    if array.ndim == 2 and array.shape[1] == 2 and array.dtype.kind in "biuf":
        if not (np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all()):
            raise InputError("y: rows of two are one-hot: a 1 and a 0 in each")
        array = array[:, 1].astype(np.int64)
    elif array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"y: one label for each row is expected, and the shape is {array.shape}")
    if array.dtype.kind == "c" or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        raise InputError("y: labels are numbers that are finite, bools or texts")
    try:
        values = np.unique(array).tolist()
    except TypeError:
        raise InputError("y: labels of one kind are expected: numbers, bools or texts") from None
    if len(values) == 1 and values[0] in (0, 1):
        values = [type(values[0])(0), type(values[0])(1)]
    if len(values) != 2:
        shown = ", ".join(map(repr, values[:6])) + (", ..." if len(values) > 6 else "")
        raise InputError(f"y: it has {len(values)} different labels, {shown}: an AUC takes two")
    if positive is None:
        positive = values[1]
        if values != [0, 1]:
            _LOG.info("%r is taken to be the positive class and %r the negative: sorted, the last is the positive", values[1], values[0])
    elif positive not in values:
        raise InputError(f"positive is {positive!r}: no label is that; there are {values[0]!r} and {values[1]!r}")
    negative = values[0] if positive == values[1] else values[1]
    return np.ascontiguousarray(array == positive, dtype=np.bool_), positive, negative


def _groups(groups: Any) -> np.ndarray:
    """Groups as whole numbers: of an array of those as they are, anything else numbered as it appears."""
    array = as_array(groups)
    if array.ndim != 1:
        raise InputError(f"groups: one for each row is expected, and the shape is {array.shape}")
    if array.dtype.kind in "iu" and array.size and -(1 << 31) <= array.min() and array.max() < 1 << 31:
        return np.ascontiguousarray(array, dtype=np.int32)
    if any(isinstance(of, float) and math.isnan(of) for of in array.tolist()):
        raise InputError("groups: a group is missing")
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(of, len(numbers)) for of in array.tolist()], dtype=np.int32)
