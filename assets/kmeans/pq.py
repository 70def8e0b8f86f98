"""Errors of product quantization by scikit-learn's KMeans, for tests/gpu/product_quantizer.rs."""

import os

import numpy
from sklearn.cluster import KMeans

x = numpy.load(os.path.join(os.path.dirname(__file__), "points.npy")).astype(numpy.float64)
for m, bits in [(8, 4), (16, 6)]:
    errors = []
    for seed in range(5):
        parts = numpy.split(x, m, axis=1)
        fits = [KMeans(2**bits, n_init=1, random_state=seed).fit(part) for part in parts]
        errors.append(sum(fit.inertia_ for fit in fits) / (x**2).sum())
    print(f"m={m} bits={bits}: {numpy.mean(errors):.6f} (of {min(errors):.6f} to {max(errors):.6f})")
