"""Batches, first centroids, and scikit-learn's centroids and counts after each batch: mini_batch.json.

Run as: python mini_batch.py (numpy, scikit-learn)
"""

import json
from pathlib import Path

import numpy as np
from sklearn.cluster import MiniBatchKMeans

K, D = 5, 3
random = np.random.default_rng(7)
centres = random.normal(size=(K, D)) * 2 + 20
batches = []
for size in [40, 40, 7, 3, 64]:
    points = centres[random.integers(0, K, size)] + random.normal(size=(size, D))
    batches.append(points.astype(np.float32))
# The last centroid gets no point at first.
init = np.concatenate([batches[0][: K - 1], np.full((1, D), 23)]).astype(np.float32)

model = MiniBatchKMeans(K, init=init, n_init=1, reassignment_ratio=0.0, random_state=0)
before, steps = init.astype(np.float64), []
for batch in batches:
    distances = ((batch[:, None].astype(np.float64) - before[None]) ** 2).sum(axis=2)
    model.partial_fit(batch)
    before = model.cluster_centers_.astype(np.float64)
    steps.append(
        {
            "batch": batch.ravel().tolist(),
            "inertia_before": distances.min(axis=1).sum(),
            "centroids": model.cluster_centers_.ravel().tolist(),
            "counts": model._counts.tolist(),
        }
    )
out = Path(__file__).with_name("mini_batch.json")
out.write_text(json.dumps({"k": K, "d": D, "init": init.ravel().tolist(), "steps": steps}) + "\n")
