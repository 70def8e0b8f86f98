"""Clusters embeddings and draws them: ``python examples/cluster.py [embeddings.npy [picture.png]]``.

Without a file, the embeddings are made up: 5,000 points of 64 dimensions around 12 centers.
"""

from __future__ import annotations

import sys

import lowbit
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

CLUSTERS = 12


def made_up() -> np.ndarray:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(CLUSTERS, 64))
    return (centers[rng.integers(CLUSTERS, size=5_000)] + 0.3 * rng.normal(size=(5_000, 64))).astype(np.float32)


def plane(points: np.ndarray) -> np.ndarray:
    """The directions in which the points differ most, as columns."""
    return np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][:2].T


points = np.load(sys.argv[1], mmap_mode="r") if len(sys.argv) > 1 else made_up()
picture = sys.argv[2] if len(sys.argv) > 2 else "clusters.png"

# Embeddings are alike by direction, hence the cosine. As many starts as chance needs to find every cluster once.
kmeans = lowbit.KMeans(CLUSTERS, metric="cosine", n_init=8, random_state=0).fit(points)

axes = plane(kmeans.cluster_centers_)
shown = np.random.default_rng(0).permutation(len(points))[:5_000]
x, y = (np.asarray(points[np.sort(shown)], dtype=np.float32) @ axes).T
figure, plot = plt.subplots(figsize=(7, 7), layout="constrained")
plot.scatter(x, y, c=kmeans.labels_[np.sort(shown)], s=4, cmap="tab20")
plot.set(title=f"{len(points)} embeddings in {CLUSTERS} clusters", xticks=[], yticks=[])
figure.savefig(picture, dpi=120)

sizes = np.bincount(kmeans.labels_, minlength=CLUSTERS)
print(f"{CLUSTERS} clusters of {sizes.min()} to {sizes.max()} points; mean cosine to the centroid {1 - kmeans.inertia_ / len(points):.4f}; {picture}")
