"""Calibrates a classifier for INT8 and audits what that costs: ``python examples/audit.py [folder]``.

The folder holds model.onnx, calibration.npy (rows as the model will see them), test.npy (others) and labels.npy (of those); without
one it is the repository's, of a model that tells breast cancer from benign lumps.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lowbit
import numpy as np

ours = Path(__file__).resolve().parents[2] / "assets" / "classifier" / "breast_cancer"
folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ours
calibration, test, labels = (np.load(folder / f"{name}.npy") for name in ("calibration", "test", "labels"))

classifier = lowbit.classify.Classifier(folder / "model.onnx").calibrate(calibration)
audit = classifier.audit(test, labels)

print(f"{audit.status}: {audit.verdict}")
for check in audit.checks:
    gates = "" if check.gates else " (does not decide)"
    print(f"  {check.name}: {check.value:.6g} {check.relation} {check.limit:g}: {'passes' if check.passed else 'fails'}{gates}")
print(f"AUC {audit.auc_fp32_baseline:.5f} in float32, {audit.auc_int8_quantized:.5f} in INT8, at most {audit.upper_bound:.5f} lost")
