"""Classifiers: calibration, answers, and audits."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lowbit
import numpy as np
import pytest
from helpers import ASSETS, command_line
from lowbit.classify import Audit, Classifier, _digest
from numpy.testing import assert_allclose, assert_array_equal
from records import equal

CANCER = ASSETS / "classifier" / "breast_cancer"
DIGITS = ASSETS / "classifier" / "digits_8"
# What Python adds, or has as an object of its own.
OWN = ("positive", "negative", "class_index", "adapter", "baseline", "quantized", "roc_svg")


def load(folder: Path, name: str) -> Any:
    return np.load(folder / f"{name}.npy")


def calibrated(folder: Path = CANCER, method: str = "entropy") -> Classifier:
    return Classifier(folder / "model.onnx").calibrate(load(folder, "calibration"), method)


def audit_of(folder: Path, *flags: Any) -> Any:
    """The command line's document; a failed gate is exit code 1."""
    command = [command_line(), "classify", "audit", folder / "model.onnx", "--calibration", folder / "calibration.npy"]
    command += ["--test", folder / "test.npy", "--labels", folder / "labels.npy", "--json", "-q", *flags]
    done = subprocess.run([str(of) for of in command], capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def test_answers_are_onnxruntimes() -> None:
    for folder in (CANCER, DIGITS):
        model = Classifier(folder / "model.onnx")
        x = load(folder, "test")
        found = model.run(x)
        assert found.shape == (len(x), 1) and found.dtype == np.float32
        assert_allclose(found[:, 0], load(folder, "probability_fp32").reshape(-1), rtol=0, atol=1e-6)
        assert_array_equal(model.predict(x), found[:, 0] > 0.5)
        assert_array_equal(model.run(x[:3]), found[:3])
        assert_array_equal(model.run(x.astype(np.float64)), found)


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({}, []),
        ({"only": "auc", "threshold": 0.4, "max_drop": 0.2}, ["--only", "auc", "--threshold", "0.4", "--max-drop", "0.2"]),
        ({"point": True, "confidence": 0.99, "min_recall": 0.5}, ["--point", "--confidence", "0.99", "--min-recall", "0.5"]),
    ],
)
def test_audits_are_the_command_lines(options: dict[str, Any], flags: list[str]) -> None:
    for folder in (CANCER, DIGITS):
        found = calibrated(folder).audit(load(folder, "test"), load(folder, "labels"), **options)
        equal(found, audit_of(folder, *flags), OWN)


def test_groups_and_methods_are_the_command_lines(tmp_path: Path) -> None:
    groups = np.arange(len(load(CANCER, "labels"))) // 5
    np.save(tmp_path / "g.npy", groups)
    for method in ("min-max", "percentile:99.9", "mse"):
        model = calibrated(CANCER, method)
        assert model.calibration is not None and model.calibration.method == method
        found = model.audit(load(CANCER, "test"), load(CANCER, "labels"), groups=groups)
        said = audit_of(CANCER, "--groups", tmp_path / "g.npy", "--method", method)
        equal(found, said, OWN)
        assert found.bootstrap is not None and found.bootstrap.groups == groups.max() + 1
    texts = [f"print {group}" for group in groups]
    assert model.audit(load(CANCER, "test"), load(CANCER, "labels"), groups=texts).upper_bound == found.upper_bound


def test_an_audit_is_shown_in_a_notebook() -> None:
    model = calibrated()
    x = load(CANCER, "test")
    found = model.audit(x, load(CANCER, "labels"))
    assert isinstance(found, Audit) and found.meets_specification == (found.status == "PASS")
    page = found._repr_html_()
    assert "<svg" in page and found.status in page and "<table>" in page and "nan" not in page
    assert_array_equal(found.quantized, model.run(x)[:, 0])
    assert_array_equal(found.baseline, model.run(x, int8=False)[:, 0])


def test_labels_may_be_anything_of_two_values() -> None:
    model, x, y = calibrated(), load(CANCER, "test"), load(CANCER, "labels").astype(int)
    found = model.audit(x, y)
    assert (found.positive, found.negative) == (1, 0)
    for labels, positive in [
        (y.astype(bool), True),
        (np.where(y == 1, "yes", "no"), "yes"),
        (np.where(y == 1, "b", "a").astype(object), "b"),
        (np.stack([1 - y, y], axis=1), 1),
        (y * 2.5 - 1, 1.5),
        (y[:, None], 1),
        (y.tolist(), 1),
    ]:
        other = model.audit(x, labels)
        assert (other.auc_int8_quantized, other.positive) == (found.auc_int8_quantized, positive)
    turned = model.audit(x, y, positive=0)
    assert turned.auc_fp32_baseline == pytest.approx(1 - found.auc_fp32_baseline) and turned.negative == 1


def test_calibrating_with_the_test_set_is_warned_of() -> None:
    x = load(CANCER, "test")
    found = Classifier(CANCER / "model.onnx").calibrate(x).audit(x, load(CANCER, "labels"))
    assert any("the test set is the calibration data" in of for of in found.warnings)
    assert not any("the test set is the calibration data" in of for of in calibrated().audit(x, load(CANCER, "labels")).warnings)


def test_pickles_and_copies_answer_alike() -> None:
    model, x = calibrated(), load(CANCER, "test")
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert_array_equal(other.run(x), model.run(x))
        assert other.calibration == model.calibration


def test_refusals(tmp_path: Path) -> None:
    model, x, y = calibrated(), load(CANCER, "test"), load(CANCER, "labels")
    plain = Classifier(CANCER / "model.onnx")
    with pytest.raises(lowbit.NotFittedError):
        plain.audit(x, y)
    with pytest.raises(lowbit.NotFittedError):
        plain.run(x, int8=True)
    with pytest.raises(FileNotFoundError):
        Classifier(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 40)
    with pytest.raises(lowbit.FileError):
        Classifier(tmp_path / "bad.onnx")
    bad = x.copy()
    bad[4, 2] = np.inf
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: model.run(x[:, :5]), "30 values"),
        (lambda: model.run(x[0]), "dimensions"),
        (lambda: model.run(x.astype(complex)), "complex"),
        (lambda: model.run(bad), "row 4, value 2"),
        (lambda: plain.calibrate(x[:5]), "too few"),
        (lambda: plain.calibrate(x, "best"), "best"),
        (lambda: model.audit(x, y[:-1]), "labels"),
        (lambda: model.audit(x, y, groups=[1, 2]), "groups"),
        (lambda: model.audit(x, np.arange(len(y))), "different labels"),
        (lambda: model.audit(x, np.ones(len(y))), "negative|class"),
        (lambda: model.audit(x, y, positive=7), "no label is that"),
        (lambda: model.audit(x, y, class_index=1), "1 outputs"),
        (lambda: model.audit(x, y, only="speed"), "speed"),
        (lambda: model.audit(x, y, confidence=1.5), "confidence"),
        (lambda: model.audit(x, y, max_drop=-1), "drop"),
        (lambda: model.audit(x, y, threshold=np.nan), "threshold"),
    ]
    for wrong, text in refused:
        with pytest.raises(lowbit.InputError, match=text):
            wrong()


def test_models_of_several_classes() -> None:
    model, x = Classifier(ASSETS / "starnet" / "budget_72.onnx"), load(DIGITS, "test")
    outputs = model.run(x)
    assert outputs.shape == (len(x), model.outputs) == (len(x), 10)
    assert_array_equal(model.predict(x), outputs.argmax(axis=1))
    assert (model.predict(x) == np.load(ASSETS / "starnet" / "labels.npy")).mean() > 0.9


def test_which_output_is_the_positive_has_to_be_said() -> None:
    model = Classifier(ASSETS / "classifier" / "small" / "three.onnx")
    x = np.random.default_rng(0).standard_normal((200, model.features))
    y = model.run(x).argmax(axis=1) == 2
    with pytest.raises(lowbit.InputError, match="class_index=0"):
        model.calibrate(x).audit(x, y)
    assert model.audit(x, y, class_index=2).class_index == 2


def test_digests_are_made_without_a_copy() -> None:
    rows = np.ones((1000, 1000), dtype=np.float32)
    tracemalloc.start()
    try:
        digest = _digest(rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < rows.nbytes / 10
    assert digest == _digest(rows.copy()) != _digest(rows.reshape(500, 2000))
    assert _digest(rows[:0]) != digest
