"""Writes entropy.json: histograms with the thresholds of section-2 entropy calibration, by numpy.

Independent of src/: plain loops over NVIDIA's published steps (GTC 2017, 8-bit inference with TensorRT), with
bins[0] = bins[1], levels floor(bin * 128 / i), an infinite divergence where P > 0 and Q = 0, and without candidates in
which at most one bin is occupied. Run from anywhere: python make_entropy.py
"""

import json
import pathlib

import numpy as np


def candidates(bins, zero="copy"):
    bins = bins.astype(np.float64).copy()
    if zero == "copy":
        bins[0] = bins[1]
    if zero == "drop":
        bins[0] = 0
    for i in range(128, 2048):
        inside = bins[:i]
        if np.count_nonzero(inside) < 2:
            yield i, np.inf
            continue
        p = inside.copy()
        p[i - 1] += bins[i:].sum()
        p /= p.sum()
        level = np.arange(i) * 128 // i
        mass = np.bincount(level, weights=inside, minlength=128)
        occupied = np.bincount(level, weights=inside > 0, minlength=128)
        q = np.where(inside > 0, (mass / np.maximum(occupied, 1))[level], 0)
        q /= q.sum()
        at = p > 0
        if (q[at] == 0).any():
            yield i, np.inf
        else:
            yield i, float((p[at] * np.log(p[at] / q[at])).sum())


def best(bins, zero="copy"):
    all_ = list(candidates(bins, zero))
    least = min(d for _, d in all_)
    return None if least == np.inf else next(i for i, d in all_ if d == least)


def histogram(x):
    x = np.abs(x.astype(np.float32))
    amax = x.max()
    scale = np.float32(2048) / amax
    bin_ = np.minimum((x * scale).astype(np.uint32), 2047)
    return np.bincount(bin_, minlength=2048), amax


def run():
    rng = np.random.default_rng(20)
    # Another sample moves the minimum by up to ten bins; this one, of numpy's frozen generator, has it at the 4.07 that
    # the case is known for.
    relu = np.maximum(np.random.RandomState(1).standard_normal(100_000), 0)
    tensors = {
        "relu": np.append(relu, 40),
        "normal": rng.standard_normal(50_000),
        "laplace": rng.laplace(size=50_000),
        "uniform": rng.uniform(-1, 1, 50_000),
        "sparse": np.round(rng.gamma(2, 1, 20_000), 1),
        "integers": rng.integers(0, 17, 20_000).astype(float),
        "binary": rng.integers(0, 2, 1000).astype(float),
        "constant": np.full(1000, 3.0),
        "few": rng.standard_normal(60),
        "far": 100 + rng.standard_normal(50_000),
        "lognormal": rng.lognormal(0, 1.5, 100_000),
    }
    made = []
    for name, x in tensors.items():
        bins, amax = histogram(x)
        made.append({"name": name, "amax": float(amax), "best": best(bins), "bins": bins.tolist()})
        print(name, made[-1]["best"], made[-1]["best"] and (made[-1]["best"] + 0.5) * amax / 2048,
              "keep", best(bins, "keep"), "drop", best(bins, "drop"))
    path = pathlib.Path(__file__).with_name("entropy.json")
    path.write_text("[\n" + ",\n".join(json.dumps(one, separators=(",", ":")) for one in made) + "\n]\n")


if __name__ == "__main__":
    run()
