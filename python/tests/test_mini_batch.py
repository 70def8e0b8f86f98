"""What MiniBatchKMeans computes."""

from __future__ import annotations

from typing import Any

import lowbit
import numpy as np
import pytest
from helpers import blobs
from sklearn.cluster import MiniBatchKMeans


def test_mini_batch_comes_near_to_full() -> None:
    x = blobs(6000, 8, 6, spread=0.5)
    full = lowbit.KMeans(6, random_state=0, n_init=4).fit(x)
    mini = lowbit.MiniBatchKMeans(6, random_state=0, n_init=4, batch_size=512).fit(x)
    assert full.inertia_ <= mini.inertia_ < 1.1 * full.inertia_


def test_partial_fit_learns() -> None:
    x = blobs(3000, 8, 6, spread=0.5)
    kmeans = lowbit.MiniBatchKMeans(6, init=x[:6], random_state=0)
    scores = []
    for start in range(0, 3000, 500):
        kmeans.partial_fit(x[start : start + 500])
        assert kmeans.labels_.shape == (500,)
        scores.append(kmeans.score(x))
    assert kmeans.n_steps_ == 6 and not hasattr(kmeans, "n_iter_")
    assert scores[-1] > scores[0]


def test_partial_fit_goes_on_from_fit() -> None:
    x = blobs(5040, 8, 6, spread=1.0)
    kmeans = lowbit.MiniBatchKMeans(6, random_state=0).fit(x[:5000])
    before, passes, steps = kmeans.cluster_centers_, kmeans.n_iter_, kmeans.n_steps_
    assert steps >= passes >= 1
    kmeans.partial_fit(x[5000:])
    assert 0 < np.abs(kmeans.cluster_centers_ - before).max() < 0.05
    assert (kmeans.n_iter_, kmeans.n_steps_) == (passes, steps + 1)


def test_partial_fit_heeds_changed_parameters() -> None:
    x = blobs(2000, 4, 3, spread=0.5)
    kmeans = lowbit.MiniBatchKMeans(3, random_state=0).partial_fit(x[:900])
    other = lowbit.MiniBatchKMeans(3, random_state=0).partial_fit(x[:900])
    with pytest.raises(lowbit.InputError, match="no adapter has this in its name"):
        kmeans.set_params(adapter="no adapter has this in its name").partial_fit(x[900:])
    with pytest.raises(lowbit.InputError, match="reassignment_ratio"):
        kmeans.set_params(adapter=None, reassignment_ratio=-1).partial_fit(x[900:])
    # What was refused has changed nothing, and what was learnt counts for the new learner too.
    kmeans.set_params(reassignment_ratio=0.02, memory=64).partial_fit(x[900:])
    other.partial_fit(x[900:])
    np.testing.assert_allclose(kmeans.cluster_centers_, other.cluster_centers_, rtol=1e-5, atol=1e-6)
    for changed in ({"n_clusters": 4}, {"metric": "cosine"}):
        for learnt in (kmeans, lowbit.MiniBatchKMeans(3, random_state=0).fit(x)):
            with pytest.raises(lowbit.InputError, match="n_clusters or metric changed"):
                learnt.set_params(**changed).partial_fit(x)
        kmeans.set_params(n_clusters=3)


def test_labels_are_left_out_where_they_are_not_asked_for() -> None:
    x = blobs(600, 4, 3)
    kmeans = lowbit.MiniBatchKMeans(3, random_state=0, compute_labels=False).partial_fit(x)
    assert not hasattr(kmeans, "labels_") and not hasattr(kmeans, "inertia_")
    assert kmeans.fit(x).labels_.shape == (600,)
    kmeans.partial_fit(x[:50])
    assert not hasattr(kmeans, "labels_")
    assert kmeans.set_params(compute_labels=True).partial_fit(x[:50]).labels_.shape == (50,)


def test_weighted_batches_move_centroids_as_in_scikit_learn() -> None:
    x = blobs(900, 5, 4, spread=1.0)
    weights = np.random.default_rng(1).exponential(size=900).astype(np.float32)
    weights[::7] = 0
    kmeans = lowbit.MiniBatchKMeans(4, init=x[:4], reassignment_ratio=0)
    other = MiniBatchKMeans(4, init=x[:4].astype(np.float64), n_init=1, reassignment_ratio=0)
    for start in range(0, 900, 100):
        batch, own = x[start : start + 100], weights[start : start + 100]
        kmeans.partial_fit(batch, sample_weight=own)
        other.partial_fit(batch.astype(np.float64), sample_weight=own.astype(np.float64))
        np.testing.assert_allclose(kmeans.cluster_centers_, other.cluster_centers_, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(kmeans.labels_, other.labels_)
        near = ((batch - kmeans.cluster_centers_[kmeans.labels_]) ** 2).sum(axis=1)
        np.testing.assert_allclose(kmeans.inertia_, near @ own, rtol=1e-5)
    assert kmeans.n_steps_ == 9


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_weights_of_any_size_are_repetitions(size: float) -> None:
    x = blobs(600, 5, 4, spread=1.0)
    weights = np.random.default_rng(1).integers(0, 4, size=600)
    kmeans = lowbit.MiniBatchKMeans(4, init=x[:4], reassignment_ratio=0)
    other = lowbit.MiniBatchKMeans(4, init=x[:4], reassignment_ratio=0)
    for start in range(0, 600, 200):
        batch, own = x[start : start + 200], weights[start : start + 200]
        kmeans.partial_fit(batch, sample_weight=own * size)
        other.partial_fit(np.repeat(batch, own, axis=0))
        np.testing.assert_allclose(kmeans.cluster_centers_, other.cluster_centers_, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(kmeans.inertia_, size * other.inertia_, rtol=1e-5)


def test_points_are_drawn_by_their_weights() -> None:
    x = blobs(4000, 6, 8, spread=0.1)
    # Half of the clusters weigh nothing, and two count most.
    weights = np.array([0, 0, 0, 0, 1, 1, 3, 3], dtype=np.float32)[np.arange(4000) % 8]
    kmeans = lowbit.MiniBatchKMeans(4, random_state=0, n_init=3, batch_size=256).fit(x, sample_weight=weights)
    full = lowbit.KMeans(4, random_state=0, n_init=4).fit(x, sample_weight=weights)
    assert full.inertia_ <= kmeans.inertia_ < 1.1 * full.inertia_
    np.testing.assert_allclose(kmeans.score(x, sample_weight=weights), -kmeans.inertia_, rtol=1e-6)
    means = np.stack([x[j::8].mean(axis=0) for j in range(4, 8)])
    nearest = ((means[:, None] - kmeans.cluster_centers_[None]) ** 2).sum(axis=2)
    assert sorted(nearest.argmin(axis=1)) == [0, 1, 2, 3] and nearest.min(axis=1).max() < 0.1


@pytest.mark.parametrize("weight", [1, 0.75, 3.0])
def test_equal_weights_are_none(weight: float) -> None:
    x = blobs(2000, 5, 4, spread=1.0)
    bare = lowbit.MiniBatchKMeans(4, random_state=2, n_init=2).fit(x)
    weighed = lowbit.MiniBatchKMeans(4, random_state=2, n_init=2).fit(x, sample_weight=np.full(2000, weight))
    assert weighed.cluster_centers_.tobytes() == bare.cluster_centers_.tobytes()
    assert weighed.inertia_ == weight * bare.inertia_


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ([1.0] * 9, "expected"),
        ([0.0] * 10, "zero"),
        ([0.0] * 9 + [1.0], "1 points have a weight above 0: there should be at least n_clusters=2"),
        ([1.0] * 9 + [-1.0], "-1"),
        ([1.0] * 9 + [np.nan], "(?i)nan"),
        ([1.0] * 9 + [np.inf], "(?i)inf"),
    ],
)
def test_weights_refused(weights: Any, text: str) -> None:
    x = blobs(10, 3, 2)
    for call in ("fit", "partial_fit"):
        kmeans = lowbit.MiniBatchKMeans(2)
        with pytest.raises(ValueError, match=text):
            getattr(kmeans, call)(x, sample_weight=weights)
        assert not hasattr(kmeans, "cluster_centers_")
    # A later batch chooses no centroids, and one point is enough for it.
    kmeans = lowbit.MiniBatchKMeans(2).partial_fit(x)
    kmeans.partial_fit(x, sample_weight=[0.0] * 9 + [2.0])
    with pytest.raises(lowbit.InputError, match="zero for all points"):
        kmeans.partial_fit(x, sample_weight=np.zeros(10))


def test_callables_starts_are_compared_by_weights() -> None:
    x = blobs(400, 3, 4, spread=0.01)
    weights = np.where(np.arange(400) % 4 < 2, 1.0, 0.0)
    good, bad = x[:2], x[2:4]
    starts = iter([bad, good, bad])
    kmeans = lowbit.MiniBatchKMeans(2, init=lambda *_, **__: next(starts), n_init=3, max_iter=1, random_state=0)
    np.testing.assert_allclose(kmeans.fit(x, sample_weight=weights).cluster_centers_, good, atol=0.1)
