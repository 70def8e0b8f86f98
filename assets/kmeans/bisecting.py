"""The inertia of scikit-learn's BisectingKMeans for the points of this folder, by seed, before any refinement: bisecting.json.

Run as: python bisecting.py (numpy, scikit-learn)
"""

import json
from pathlib import Path

import numpy as np
import sklearn
from sklearn.cluster import BisectingKMeans

FOLDER = Path(__file__).parent
SEEDS = 10
points = np.load(FOLDER / "points.npy").astype(np.float64)


def inertia(k: int, seed: int) -> float:
    model = BisectingKMeans(k, init="k-means++", bisecting_strategy="biggest_inertia", random_state=seed)
    return float(model.fit(points).inertia_)


by = f"scikit-learn {sklearn.__version__}, float64, biggest_inertia, k-means++, seeds 0 to {SEEDS - 1}"
of = {k: [inertia(k, seed) for seed in range(SEEDS)] for k in (5, 12)}
(FOLDER / "bisecting.json").write_text(json.dumps({"by": by, "inertia": of}, indent=1) + "\n")
