"""Quantizes weights and multiplies by them: ``python examples/quantize.py [weights.npy]``.

Without a file, the weights are made up: a linear layer of 2,048 inputs and 1,024 outputs.
"""

from __future__ import annotations

import sys

import lowbit
import numpy as np

rng = np.random.default_rng(0)
if len(sys.argv) > 1:
    weights = np.load(sys.argv[1]).astype(np.float32)
else:
    weights = (rng.normal(size=(1_024, 2_048)) / np.sqrt(2_048)).astype(np.float32)

# What goes through the layer: a row for each token.
x = rng.normal(size=(16, weights.shape[1])).astype(np.float32)
exact = x.astype(np.float64) @ weights.T.astype(np.float64)

print("format  bits per weight  error of the weights  error of the product")
for name in ("Q8_0", "Q6_K", "Q4_K", "Q2_K"):
    quantized = lowbit.quantize(weights, name)
    # Where that is the fastest, x is rounded to int8 for it, an error of 0.005; path="float" takes x as it is.
    product = lowbit.matmul(quantized, x)

    def error(found: np.ndarray, expected: np.ndarray) -> float:
        return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))

    of_weights, of_product = error(quantized.dequantize(), weights), error(product, exact)
    print(f"{name:<7} {quantized.bits_per_weight:>15.2f}  {of_weights:>20.5f}  {of_product:>20.5f}")
