"""What a calibration and an audit of a classifier found."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._records import keyed

__all__ = [
    "Audit",
    "Bootstrap",
    "Calibration",
    "Check",
    "Figures",
    "Flips",
    "Layer",
    "Paired",
    "Range",
    "Tensor",
    "Weights",
]


@dataclass(frozen=True)
class Range:
    """The range of a tensor in calibration.

    Attributes
    ----------
    name : str
    min, max, amax : float
        The least value, the largest, and the largest size.
    threshold : float
        The largest size that has a code of its own.
    scale : float
        A step between codes, ``threshold / 127``.
    clipped : float
        The share of values beyond the threshold.
    contents : str
        ``"varied"``, ``"constant"`` or ``"zero"``.
    """

    name: str
    min: float
    max: float
    amax: float
    threshold: float
    scale: float
    clipped: float
    contents: str


@dataclass(frozen=True)
class Weights:
    """The weights of a layer: their range, output channels, the range of their scales, channels that are all zero."""

    layer: str
    range: tuple[float, float]
    channels: int
    scales: tuple[float, float]
    zero_channels: int


@dataclass(frozen=True)
class Calibration:
    """Ranges of every tensor, by data as the model will see it.

    Attributes
    ----------
    method : str
    rows : int
        Rows of the data.
    ranges : list of Range
    weights : list of Weights
    warnings : list of str
        What must be known before trusting the ranges.
    """

    method: str
    rows: int
    ranges: list[Range]
    weights: list[Weights]
    warnings: list[str]
    _json: str = field(repr=False)
    _digest: str = field(repr=False)


@dataclass(frozen=True)
class Figures:
    """How well a model does at the threshold."""

    average_precision: float
    f1: float
    recall: float
    precision: float
    true_positives: int
    false_positives: int


@dataclass(frozen=True)
class Paired:
    """The drop of a figure, what it is at most at the wanted confidence, and where that bound comes from."""

    drop: float
    upper_bound: float
    upper_bound_by: str


@dataclass(frozen=True)
class Flips:
    """Decisions that differ at a threshold: those that become positive, those that become negative, both."""

    threshold: float
    to_positive: int
    to_negative: int
    rows: int


@dataclass(frozen=True)
class Check:
    """A condition: what was found, how it has to be to the limit, whether the status depends on it, whether it holds."""

    part: str
    name: str
    threshold: float | None
    value: float
    relation: str
    limit: float
    gates: bool
    passed: bool = keyed("pass")


@dataclass(frozen=True)
class Bootstrap:
    """The block bootstrap over groups."""

    groups: int
    replicates: int
    redrawn: int
    seed: int
    rule_of_three: int | None
    upper_bound: float
    upper_bound_f1: float
    upper_bound_recall: float


@dataclass(frozen=True)
class Layer:
    """A layer with weights: how it runs, and the drop of the AUC where it alone is quantized."""

    layer: str
    operator: str
    int8: bool
    reason: str | None
    drop_alone: float | None


@dataclass(frozen=True)
class Tensor:
    """A tensor of int8 activations: its scale, what calibration saw, and the codes of the test set."""

    name: str
    scale: float
    threshold: float
    calibrated: tuple[float, float] | None
    clipped: float | None
    saturated: int
    cut_off: int
    largest: int
    codes: int


@dataclass(frozen=True)
class Audit:
    """What an INT8 classifier lost against float32, and with what certainty. A notebook shows it as tables with the ROC curves.

    Attributes
    ----------
    status : {"PASS", "FAIL"}
    meets_specification : bool
        The status as a truth value.
    verdict : str
        The status as a sentence.
    auc_fp32_baseline, auc_int8_quantized, auc_degradation_gap : float
        Areas under the ROC curve, and their difference.
    standard_error : float
        DeLong's, of the difference.
    upper_bound : float
        The drop is at most this at the `confidence`; `upper_bound_by` says by what.
    fp32, int8 : Figures
    f1, recall : Paired
    flips : list of Flips
    checks : list of Check
    layers : list of Layer
        The most costly first.
    tensors : list of Tensor
    weights : list of Weights
    positive, negative : object
        The labels of the two classes.
    class_index : int
        Which output is the probability of a positive.
    warnings : list of str
    baseline, quantized : ndarray of float32, shape (rows,)
        Probabilities by both models.
    roc_svg : str
        Both ROC curves, as SVG.
    """

    status: str
    auc_fp32_baseline: float
    auc_int8_quantized: float
    auc_degradation_gap: float
    meets_specification: bool
    verdict: str
    rows: int
    positives: int
    negatives: int
    max_drop: float
    point: bool
    decides: list[str]
    confidence: float
    standard_error: float
    rule_of_three: int | None
    upper_bound_delong: float
    bootstrap: Bootstrap | None
    upper_bound: float
    upper_bound_by: str
    threshold: float
    fp32: Figures
    int8: Figures
    f1: Paired
    recall: Paired
    flips: list[Flips]
    max_probability_difference: float
    mean_probability_difference: float
    checks: list[Check]
    warnings: list[str]
    layers: list[Layer]
    tensors: list[Tensor]
    weights: list[Weights]
    positive: Any
    negative: Any
    class_index: int
    adapter: str
    baseline: np.ndarray = field(repr=False, compare=False)
    quantized: np.ndarray = field(repr=False, compare=False)
    roc_svg: str = field(repr=False, compare=False)

    def _repr_html_(self) -> str:
        colour = "#1a7f37" if self.meets_specification else "#cf222e"
        parts = [f'<h3 style="color:{colour}">{_text(self.status)}: {_text(self.verdict)}</h3>']
        compared = [
            ["AUC", self.auc_fp32_baseline, self.auc_int8_quantized, self.auc_degradation_gap, self.upper_bound],
            ["F1", self.fp32.f1, self.int8.f1, self.f1.drop, self.f1.upper_bound],
            ["recall", self.fp32.recall, self.int8.recall, self.recall.drop, self.recall.upper_bound],
        ]
        parts.append(_table(["figure", "f32", "INT8", "drop", f"at most ({self.confidence:.0%})"], compared))
        checks = [
            [
                of.part,
                of.name if of.threshold is None else f"{of.name} at {of.threshold}",
                of.value,
                f"{of.relation} {of.limit}",
                "yes" if of.passed else "no",
                "yes" if of.gates else "no",
            ]
            for of in self.checks
        ]
        parts.append(_table(["part", "check", "value", "limit", "holds", "decides"], checks))
        layers = [[of.layer, of.operator, "int8" if of.int8 else "f32", of.drop_alone, of.reason or ""] for of in self.layers]
        parts.append(_table(["layer", "operator", "runs in", "drop alone", "reason"], layers))
        if self.warnings:
            parts.append("<ul>" + "".join(f"<li>{_text(of)}</li>" for of in self.warnings) + "</ul>")
        parts.append(self.roc_svg)
        return "<div>" + "".join(parts) + "</div>"


def _text(text: Any) -> str:
    return html.escape(str(text))


def _table(names: list[str], rows: list[list[Any]]) -> str:
    def cell(value: Any) -> str:
        if value is None:
            return "-"
        return f"{value:.6g}" if isinstance(value, float) else _text(value)

    head = "".join(f"<th>{_text(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{cell(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
