"""Makes the fixtures of tests/cpu/audit.rs: scores of classifiers in f32 and int8, and what independent code says of them.

Needs numpy, scipy and scikit-learn. The AUC is scikit-learn's, DeLong's standard error a double loop over all pairs in f64.
"""

import json
from pathlib import Path

import numpy as np
from scipy.stats import norm
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (average_precision_score, f1_score, precision_score, recall_score,
                             roc_auc_score)
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).parent


def codes(x, scale):
    return np.clip(np.rint(x / scale), -127, 127)


def regression(x, y):
    """Scores of a logistic regression, and of the same with int8 weights and features, one scale each."""
    train, test, y_train, y_test = train_test_split(x, y, test_size=0.5, stratify=y, random_state=0)
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    model = LogisticRegression(C=0.1, max_iter=5000).fit(train, y_train)
    w, b = model.coef_[0], model.intercept_[0]
    scale_w, scale_x = np.abs(w).max() / 127, np.abs(train).max() / 127
    logit = test @ w + b
    logit_int8 = (codes(test, scale_x) @ codes(w, scale_w)) * scale_x * scale_w + b
    return y_test, 1 / (1 + np.exp(-logit)), 1 / (1 + np.exp(-logit_int8))


def ties():
    """Few distinct scores, so that most pairs are ties."""
    random = np.random.default_rng(5)
    y = (random.random(500) < 0.3).astype(int)
    score = np.clip(0.35 + 0.2 * y + 0.2 * random.standard_normal(500), 0, 1)
    return y, np.rint(score * 12) / 12, np.rint(score * 5 + 0.3 * random.standard_normal(500)).clip(0, 5) / 5


def components(y, score):
    """psi of each positive and each negative, by their definition."""
    positive, negative = score[y == 1], score[y == 0]
    psi = np.array([[1.0 if p > n else 0.5 if p == n else 0.0 for n in negative] for p in positive])
    return psi.mean(axis=1), psi.mean(axis=0)


def expected(y, a, b):
    (va, wa), (vb, wb) = components(y, a), components(y, b)
    s10, s01 = np.cov(np.array([va, vb]), ddof=1), np.cov(np.array([wa, wb]), ddof=1)
    sigma = s10 / len(va) + s01 / len(wa)
    drop = roc_auc_score(y, a) - roc_auc_score(y, b)
    assert abs(va.mean() - roc_auc_score(y, a)) < 1e-14
    se = float(np.sqrt(sigma[0, 0] + sigma[1, 1] - 2 * sigma[0, 1]))
    at = lambda s: {
        "auc": roc_auc_score(y, s),
        "average_precision": average_precision_score(y, s),
        "f1": f1_score(y, s > 0.5),
        "recall": recall_score(y, s > 0.5),
        "precision": precision_score(y, s > 0.5, zero_division=0),
    }
    return {
        "fp32": at(a),
        "int8": at(b),
        "drop": drop,
        "standard_error": se,
        "upper_bound": drop + norm.ppf(0.95) * se,
        "flips": [int(((a > t) != (b > t)).sum()) for t in (0.5, 0.85)],
        "max_abs": float(np.abs(a.astype(np.float64) - b).max()),
    }


def main():
    cancer, digits = load_breast_cancer(), load_digits()
    cases = {
        "breast_cancer": regression(cancer.data, 1 - cancer.target),
        "digits": regression(digits.data, (digits.target == 8).astype(int)),
        "ties": ties(),
    }
    answers = {}
    for name, (y, a, b) in cases.items():
        a, b = a.astype(np.float32), b.astype(np.float32)
        np.save(HERE / f"{name}.npy", np.stack([y.astype(np.float32), a, b], axis=1))
        answers[name] = expected(y, a, b)
        print(name, len(y), {k: answers[name][k] for k in ("drop", "standard_error", "upper_bound")})
    answers["normal"] = [[p, float(norm.ppf(p))] for p in (1e-9, 0.001, 0.025, 0.3, 0.5, 0.9, 0.95, 0.975, 0.99, 0.999999)]
    (HERE / "expected.json").write_text(json.dumps(answers, indent=1) + "\n")


main()
