"""Makes the fixture of tests/cpu/identify.rs: a synthetic telemetry log, from no machine, and what scipy says of it.

Needs numpy and scipy. The derivatives are those of local polynomials of order 4 over 9 rows, by numpy (dt is
uneven), the bounded least squares lsq_linear's, and the p-value chi2.sf's.
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import lsq_linear
from scipy.stats import chi2, t as student

HERE = Path(__file__).parent
ROWS, WINDOW, ORDER = 800, 9, 4
TRUE = np.array([12.0, 0.05, 0.02, 0.35])
LOW, HIGH = np.array([-np.inf, -np.inf, 0.001, 0.0]), np.array([np.inf, np.inf, 0.5, 1.0])

random = np.random.default_rng(20)
dt = np.round(0.002 * (1 + 0.3 * random.uniform(-1, 1, ROWS)), 7)
time = np.cumsum(dt)
waves = [(1.5, 9.0, 0.3), (0.8, 23.0, 1.1), (0.4, 41.0, 2.0), (0.15, 67.0, 0.7)]
q = 6 + sum(a * np.sin(w * time + p) for a, w, p in waves)
dq = sum(a * w * np.cos(w * time + p) for a, w, p in waves)
ddq = -sum(a * w * w * np.sin(w * time + p) for a, w, p in waves)
w_rot = 3 + 2 * np.sin(2.1 * time) + np.cos(5.3 * time + 0.4)
exact = np.column_stack([q, dq, ddq, w_rot * q]) @ TRUE
current = np.round(exact + 0.01 * np.sqrt(np.mean(exact**2)) * random.standard_normal(ROWS), 6)

with open(HERE / "log.csv", "w", newline="\n") as out:
    out.write("dt, Q, layer, w_rot, I_actual\n")
    for row in range(ROWS):
        out.write(f"{float(dt[row])!r},{float(q[row])!r},{row // 200},{float(w_rot[row])!r},{float(current[row])!r}\n")


def derivatives(values):
    half = WINDOW // 2
    rows = np.arange(half, ROWS - half)
    out = []
    for row in rows:
        window = slice(row - half, row + half + 1)
        s = time[window] - time[row]
        scale = np.abs(s).max()
        fit = np.linalg.lstsq(np.vander(s / scale, ORDER + 1, increasing=True), values[window] - values[row], rcond=None)[0]
        out.append((fit[1] / scale, 2 * fit[2] / scale**2))
    return rows, *np.array(out).T


def fit(names, low, high, known):
    """Bounded least squares of the columns `names`, with the `known` parameters given."""
    rows, first, second = derivatives(q)
    all_columns = dict(k_e=q[rows], k_base=first, tau=second, gamma=w_rot[rows] * q[rows])
    target = current[rows] - sum(value * all_columns[name] for name, value in known.items())
    weight = dt[rows] / dt[rows].mean()
    x = np.column_stack([all_columns[name] for name in names])
    root = np.sqrt(weight)
    scale = np.linalg.norm(x * root[:, None], axis=0)
    solved = lsq_linear(x * root[:, None] / scale, target * root, bounds=(low * scale, high * scale), method="bvls", tol=1e-15)
    values = solved.x / scale
    left = target - x @ values
    free = solved.active_mask == 0
    inverse = np.linalg.inv((x * weight[:, None]).T @ x[:, :] if free.all() else (x[:, free] * weight[:, None]).T @ x[:, free])
    xf = x[:, free]
    n, k = xf.shape
    variance = (weight * left**2).sum() / weight.sum() * n / (n - k)
    errors = np.sqrt(np.diag(inverse @ (variance * (xf * weight[:, None] ** 2).T @ xf) @ inverse))
    lags = min(10, n // 5)
    centred = left - left.mean()
    r = [(centred[lag:] * centred[: n - lag]).sum() / (centred**2).sum() for lag in range(1, lags + 1)]
    statistic = n * (n + 2) * sum(r[lag - 1] ** 2 / (n - lag) for lag in range(1, lags + 1))
    mean = (weight * current[rows]).sum() / weight.sum()
    return dict(
        names=list(names),
        known=known,
        values=values.tolist(),
        at_bound=(~free).tolist(),
        standard_errors=errors.tolist(),
        quantile=float(student.ppf(0.975, n - k)),
        condition_number=float(np.linalg.cond(x * root[:, None] / scale)),
        rows_used=int(n),
        residual_rms_a=float(np.sqrt((weight * left**2).sum() / weight.sum())),
        r_squared=float(1 - (weight * left**2).sum() / (weight * (current[rows] - mean) ** 2).sum()),
        ljung_box=dict(statistic=float(statistic), lags=lags, p_value=float(chi2.sf(statistic, lags))),
    )


order = ["k_e", "k_base", "tau", "gamma"]
cases = [fit(order, LOW, HIGH, {}), fit(order[1:], LOW[1:], HIGH[1:], {"k_e": 12.0})]
# With k_e known to be too large, gamma wants to be negative, and with k_base far off, too, residuals are not white.
cases.append(fit(order[1:], LOW[1:], HIGH[1:], {"k_e": 14.0}))
cases.append(fit(["k_e", "gamma"], LOW[[0, 3]], HIGH[[0, 3]], {"k_base": 0.3, "tau": 0.02}))
json.dump(dict(true=TRUE.tolist(), cases=cases), open(HERE / "expected.json", "w"), indent=1)
