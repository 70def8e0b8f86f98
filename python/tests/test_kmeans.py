"""What the estimators compute."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import lowbit
import numpy as np
import pytest
from helpers import ASSETS, SHARED, Floats, blobs, lowbit_cli
from lowbit import _lowbit
from sklearn.exceptions import ConvergenceWarning

ESTIMATORS = [lowbit.KMeans, lowbit.MiniBatchKMeans]


def distances(x: Any, centers: Any) -> Any:
    """Of each point to each centroid, in double precision."""
    x, centers = np.asarray(x, dtype=np.float64), np.asarray(centers, dtype=np.float64)
    return np.sqrt(((x[:, None, :] - centers[None]) ** 2).sum(axis=2))


def lloyd(x: Any, centers: Any, iterations: int, weights: Any = None) -> Any:
    """Lloyd's algorithm in double precision, for centroids that keep points."""
    x, centers = np.asarray(x, dtype=np.float64), np.asarray(centers, dtype=np.float64)
    weights = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    for _ in range(iterations):
        labels = distances(x, centers).argmin(axis=1)
        centers = np.stack([np.average(x[labels == j], axis=0, weights=weights[labels == j]) for j in range(len(centers))])
    return centers


def same_fit(a: Any, b: Any) -> None:
    np.testing.assert_array_equal(a.cluster_centers_, b.cluster_centers_)
    np.testing.assert_array_equal(a.labels_, b.labels_)
    assert (a.inertia_, a.n_iter_) == (b.inertia_, b.n_iter_)


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_iterations_are_those_of_lloyd(iterations: int) -> None:
    x = blobs(300, 6, 5, spread=1.0)
    init = x[:5]
    # scikit-learn's rule: n_iter_ counts updates of centroids, and labels are those by the last ones.
    kmeans = lowbit.KMeans(5, init=init, max_iter=iterations, tol=0).fit(x)
    expected = lloyd(x, init, iterations)
    np.testing.assert_allclose(kmeans.cluster_centers_, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(kmeans.labels_, distances(x, expected).argmin(axis=1))
    assert kmeans.n_iter_ == iterations


def test_attributes_agree() -> None:
    x = blobs(500, 7, 6, spread=0.5)
    kmeans = lowbit.KMeans(6, random_state=0).fit(x)
    assert kmeans.cluster_centers_.dtype == np.float32 and kmeans.cluster_centers_.shape == (6, 7)
    assert kmeans.labels_.dtype == np.int32 and kmeans.labels_.shape == (500,)
    assert isinstance(kmeans.inertia_, float) and isinstance(kmeans.n_iter_, int)
    expected = distances(x, kmeans.cluster_centers_)
    np.testing.assert_array_equal(kmeans.labels_, expected.argmin(axis=1))
    np.testing.assert_allclose(kmeans.inertia_, (expected.min(axis=1) ** 2).sum(), rtol=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_predict_is_labels(estimator: Any) -> None:
    x = blobs(700, 5, 4, spread=1.0)
    kmeans = estimator(4, random_state=1)
    labels = kmeans.fit_predict(x)
    np.testing.assert_array_equal(labels, kmeans.labels_)
    np.testing.assert_array_equal(kmeans.predict(x), kmeans.labels_)
    np.testing.assert_array_equal(kmeans.predict(x[100:101]), kmeans.labels_[100:101])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_transform_is_distance(estimator: Any) -> None:
    x = blobs(200, 5, 4, spread=1.0)
    kmeans = estimator(4, random_state=1)
    found = kmeans.fit_transform(x)
    assert found.dtype == np.float32 and found.shape == (200, 4)
    np.testing.assert_allclose(found, distances(x, kmeans.cluster_centers_), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_transform_by_other_metrics(metric: str) -> None:
    x = blobs(200, 5, 4, spread=1.0)
    kmeans = lowbit.KMeans(4, random_state=1, metric=metric).fit(x)
    products = x.astype(np.float64) @ kmeans.cluster_centers_.astype(np.float64).T
    if metric == "cosine":
        norms = np.linalg.norm(kmeans.cluster_centers_.astype(np.float64), axis=1)
        np.testing.assert_allclose(norms, 1, rtol=1e-6)
        products /= np.linalg.norm(x.astype(np.float64), axis=1)[:, None]
    np.testing.assert_array_equal(kmeans.labels_, products.argmax(axis=1))
    found = kmeans.transform(x)
    expected = 1 - products if metric == "cosine" else -products
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_score_is_negative_inertia(estimator: Any) -> None:
    x = blobs(300, 5, 4, spread=1.0)
    kmeans = estimator(4, random_state=1).fit(x)
    np.testing.assert_allclose(kmeans.score(x), -kmeans.inertia_, rtol=1e-6)
    part = distances(x[:50], kmeans.cluster_centers_).min(axis=1) ** 2
    np.testing.assert_allclose(kmeans.score(x[:50]), -part.sum(), rtol=1e-5)


def test_score_weighs() -> None:
    x = blobs(300, 5, 4, spread=1.0)
    weights = np.random.default_rng(2).integers(1, 5, size=300)
    kmeans = lowbit.KMeans(4, random_state=1).fit(x, sample_weight=weights)
    np.testing.assert_allclose(kmeans.score(x, sample_weight=weights), -kmeans.inertia_, rtol=1e-4)
    np.testing.assert_allclose(kmeans.score(x, sample_weight=weights), kmeans.score(np.repeat(x, weights, axis=0)), rtol=1e-4)
    for wrong in ([1.0] * 299 + [-1.0], [1.0] * 299 + [np.nan], -1.0, float("nan")):
        with pytest.raises(lowbit.InputError, match="(?i)sample_weight.* is (-1|nan)"):
            kmeans.score(x, sample_weight=wrong)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "dot"])
def test_score_weighs_without_all_distances(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = blobs(300, 5, 4, spread=1.0)
    kmeans = lowbit.KMeans(4, random_state=1, metric=metric).fit(x)
    ones, weights = np.ones(300), np.arange(300) / 100
    near = kmeans.transform(x)[np.arange(300), kmeans.labels_].astype(np.float64)
    monkeypatch.setattr("lowbit._arrays._PIECE", 64)
    monkeypatch.setattr(_lowbit, "kmeans_transform", None)
    np.testing.assert_allclose(kmeans.score(x, sample_weight=ones), kmeans.score(x), rtol=1e-5)
    near = near**2 if metric == "euclidean" else near
    np.testing.assert_allclose(kmeans.score(x, sample_weight=weights), -(near @ weights), rtol=1e-4)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_parameters_of_a_fit_have_no_part_in_asking(estimator: Any) -> None:
    x = blobs(60, 4, 3)
    kmeans = estimator(3, random_state=0).fit(x)
    labels, distances_, score = kmeans.predict(x), kmeans.transform(x), kmeans.score(x)
    kmeans.set_params(max_iter=0, n_init="no", tol=-1, n_clusters=9, random_state="seven", init="none")
    np.testing.assert_array_equal(kmeans.predict(x), labels)
    np.testing.assert_array_equal(kmeans.transform(x), distances_)
    assert kmeans.score(x) == score
    with pytest.raises(lowbit.InputError, match="metric"):
        kmeans.set_params(metric="city").predict(x)


def test_empty_cluster_takes_farthest_point() -> None:
    # The third centroid is too far from all points to have any, and gets the one that is farthest from its own.
    x = np.array([[0.0], [0.1], [-0.1], [10.0], [10.1], [10.5]], dtype=np.float32)
    init = np.array([[0.0], [10.0], [1000.0]], dtype=np.float32)
    kmeans = lowbit.KMeans(3, init=init, max_iter=1, tol=0).fit(x)
    np.testing.assert_allclose(kmeans.cluster_centers_, [[0.0], [10.05], [10.5]], atol=1e-6)
    fit = lowbit.KMeans(3, init=init).fit(x)
    assert list(np.bincount(fit.labels_, minlength=3)) == [3, 2, 1]


def test_empty_cluster_takes_farthest_point_whatever_its_weight() -> None:
    # Times its weight, the distance of 3 would be the larger one: 18 to 12.25. scikit-learn's rule does not weigh it.
    x = np.array([[0.0], [0.0], [3.0], [-3.5]], dtype=np.float32)
    init = np.array([[0.0], [100.0]], dtype=np.float32)
    kmeans = lowbit.KMeans(2, init=init, max_iter=1, tol=0).fit(x, sample_weight=[1.0, 1.0, 2.0, 1.0])
    np.testing.assert_allclose(kmeans.cluster_centers_, [[1.5], [-3.5]], atol=1e-6)


def test_empty_cluster_may_stay() -> None:
    x = np.array([[0.0], [0.1], [-0.1], [10.0], [10.1], [10.5]], dtype=np.float32)
    init = np.array([[0.0], [10.0], [1000.0]], dtype=np.float32)
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\) found smaller than n_clusters \(3\)"):
        kmeans = lowbit.KMeans(3, init=init, empty="keep").fit(x)
    assert kmeans.cluster_centers_[2, 0] == 1000.0
    half = lowbit.KMeans(3, init=init, empty="split-largest").fit(x)
    assert np.bincount(half.labels_, minlength=3).min() > 0


def test_whole_weights_are_repetitions() -> None:
    x = blobs(120, 5, 4, spread=1.0)
    weights = np.random.default_rng(3).integers(0, 5, size=120)
    weights[:4] = 1
    weighed = lowbit.KMeans(4, init=x[:4], tol=0).fit(x, sample_weight=weights)
    repeated = lowbit.KMeans(4, init=x[:4], tol=0).fit(np.repeat(x, weights, axis=0))
    np.testing.assert_allclose(weighed.cluster_centers_, repeated.cluster_centers_, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(np.repeat(weighed.labels_, weights), repeated.labels_)
    np.testing.assert_allclose(weighed.inertia_, repeated.inertia_, rtol=1e-6)


def test_equal_weights_change_nothing() -> None:
    x = blobs(150, 5, 4, spread=1.0)
    bare = lowbit.KMeans(4, init=x[:4], tol=0).fit(x)
    for weights in (np.ones(150), 1.0, np.ones(150, dtype=np.int64)):
        same_fit(lowbit.KMeans(4, init=x[:4], tol=0).fit(x, sample_weight=weights), bare)
    double = lowbit.KMeans(4, init=x[:4], tol=0).fit(x, sample_weight=np.full(150, 2.0))
    np.testing.assert_allclose(double.cluster_centers_, bare.cluster_centers_, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(double.inertia_, 2 * bare.inertia_, rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ([1.0] * 9, "expected"),
        ([[1.0]] * 10, "1D"),
        ([0.0] * 10, "zero"),
        ([1.0] * 9 + [-1.0], "-1"),
        ([1.0] * 9 + [np.nan], "(?i)nan"),
        ([1.0] * 9 + [np.inf], "(?i)inf"),
        (["a"] * 10, "numbers are expected"),
    ],
)
def test_weights_refused(weights: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        lowbit.KMeans(2).fit(blobs(10, 3, 2), sample_weight=weights)


def test_more_starts_are_no_worse() -> None:
    x = blobs(300, 4, 12, spread=0.3)
    inertias = np.array(
        [
            [lowbit.KMeans(12, init="random", n_init=n, random_state=seed).fit(x).inertia_ for n in (1, 3, 9)]
            for seed in range(4)
        ]
    )
    assert (np.diff(inertias, axis=1) <= 0).all()
    assert (inertias[:, 0] > inertias[:, 2]).any()


def test_starts_of_auto() -> None:
    x = blobs(200, 4, 8, spread=0.5)
    for init, starts in (("random", 10), ("k-means++", 1), ("k-means||", 1)):
        same_fit(
            lowbit.KMeans(8, init=init, random_state=3).fit(x),
            lowbit.KMeans(8, init=init, n_init=starts, random_state=3).fit(x),
        )


def test_no_tolerance_is_strict_fixed_point() -> None:
    x = blobs(2000, 4, 9, spread=1.0)
    kmeans = lowbit.KMeans(9, init=x[:9], tol=0, max_iter=1000).fit(x)
    assert kmeans.n_iter_ < 1000
    again = lowbit.KMeans(9, init=kmeans.cluster_centers_, tol=0, max_iter=1).fit(x)
    np.testing.assert_array_equal(again.cluster_centers_, kmeans.cluster_centers_)
    np.testing.assert_array_equal(again.labels_, kmeans.labels_)
    loose = lowbit.KMeans(9, init=x[:9], tol=0.1, max_iter=1000).fit(x)
    assert loose.n_iter_ < kmeans.n_iter_
    np.testing.assert_array_equal(loose.predict(x), loose.labels_)


def test_init_array_is_used_and_kept() -> None:
    x = blobs(200, 4, 3, spread=1.0)
    init = x[[5, 9, 13]].astype(np.float64)
    before = init.copy()
    kmeans = lowbit.KMeans(3, init=init, tol=0).fit(x)
    np.testing.assert_array_equal(init, before)
    same_fit(kmeans, lowbit.KMeans(3, init=init.tolist(), tol=0).fit(x))
    same_fit(kmeans, lowbit.KMeans(3, init=np.asfortranarray(init), tol=0).fit(x))
    with pytest.warns(RuntimeWarning, match="Explicit initial center position passed: performing only one init"):
        same_fit(kmeans, lowbit.KMeans(3, init=init, tol=0, n_init=5).fit(x))


def test_init_function_is_called() -> None:
    x = blobs(200, 4, 3, spread=1.0)
    seen = []

    def init(points: Any, n_clusters: int, random_state: np.random.RandomState) -> Any:
        seen.append((points.shape, n_clusters))
        return points[random_state.permutation(len(points))[:n_clusters]]

    kmeans = lowbit.KMeans(3, init=init, random_state=0, n_init=1, tol=0).fit(x)
    assert seen == [((200, 4), 3)]
    rows = np.random.RandomState(0).permutation(200)[:3]
    same_fit(kmeans, lowbit.KMeans(3, init=x[rows], tol=0).fit(x))


@pytest.mark.parametrize(("estimator", "starts"), [(lowbit.KMeans, 10), (lowbit.MiniBatchKMeans, 3)])
def test_init_function_is_called_for_each_start(estimator: Any, starts: int, tmp_path: Path) -> None:
    x = blobs(300, 4, 12, spread=0.3)
    given: list[Any] = []

    def init(points: Any, n_clusters: int, random_state: np.random.RandomState) -> Any:
        given.append(points[random_state.permutation(len(points))[:n_clusters]])
        return given[-1]

    estimator(12, init=init, random_state=0).fit(x)
    assert len(given) == starts and not np.array_equal(given[0], given[1])
    given.clear()
    kmeans = estimator(12, init=init, random_state=0, n_init=4, max_iter=5).fit(x)
    alone = [estimator(12, init=first, n_init=1, random_state=0, max_iter=5).fit(x) for first in given]
    assert len(alone) == 4
    if estimator is lowbit.KMeans:
        same_fit(kmeans, min(alone, key=lambda of: of.inertia_))
        given.clear()
        lowbit.KMeans(12, init=init, checkpoint=tmp_path / "state").fit(x)
        with pytest.warns(RuntimeWarning, match="only one init"):
            lowbit.KMeans(12, init=init, checkpoint=tmp_path / "state", n_init=2).fit(x)
        assert len(given) == 2
    else:
        assert any(np.array_equal(kmeans.cluster_centers_, of.cluster_centers_) for of in alone)
        given.clear()
        estimator(12, init=init).partial_fit(x)
        assert len(given) == 1


@pytest.mark.parametrize(
    ("init", "text"),
    [
        (np.ones((2, 4)), r"does not match the number of clusters 3"),
        (np.ones((3, 5)), r"does not match the number of features of the data 4"),
        (np.ones(12), r"does not match the number of clusters 3"),
        (np.full((3, 4), np.nan), "(?i)nan"),
        ("best", "'k-means\\+\\+'"),
        (lambda x, k, random_state: x[: k - 1], r"does not match the number of clusters 3"),
    ],
)
def test_init_refused(init: Any, text: str) -> None:
    for estimator in ESTIMATORS:
        with pytest.raises(ValueError, match=text):
            estimator(3, init=init, n_init=1).fit(blobs(30, 4, 3))


def test_dtypes_give_the_same_where_values_do() -> None:
    x = np.random.default_rng(0).integers(0, 100, size=(300, 6)).astype(np.float32)
    expected = lowbit.KMeans(5, random_state=0).fit(x)
    for dtype in (np.float64, np.float16, np.uint8, np.int8, np.int16, np.int64, np.uint32):
        found = lowbit.KMeans(5, random_state=0).fit(x.astype(dtype))
        assert found.cluster_centers_.dtype == np.float32
        same_fit(found, expected)
        np.testing.assert_array_equal(found.predict(x), expected.labels_)
        np.testing.assert_array_equal(expected.transform(x.astype(dtype)), expected.transform(x))


def test_order_gives_the_same() -> None:
    x = blobs(300, 6, 5, spread=1.0)
    expected = lowbit.KMeans(5, random_state=0).fit(x)
    same_fit(lowbit.KMeans(5, random_state=0).fit(np.asfortranarray(x)), expected)
    np.testing.assert_array_equal(expected.predict(np.asfortranarray(x)), expected.labels_)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_random_state(estimator: Any) -> None:
    x = blobs(400, 5, 8, spread=1.5)

    def fit(state: Any) -> Any:
        return estimator(8, random_state=state, max_iter=2).fit(x)

    for made in (lambda: 7, lambda: np.random.RandomState(7), lambda: np.random.default_rng(7), lambda: np.int64(7)):
        same_fit(fit(made()), fit(made()))
    assert not np.array_equal(fit(7).cluster_centers_, fit(8).cluster_centers_)
    assert not np.array_equal(fit(None).cluster_centers_, fit(None).cluster_centers_)
    # As scikit-learn has it, a generator goes on from where it was.
    state = np.random.RandomState(7)
    assert not np.array_equal(fit(state).cluster_centers_, fit(state).cluster_centers_)
    with pytest.raises(ValueError, match="random_state"):
        fit("seven")


def test_memory_changes_nothing() -> None:
    x = blobs(40_000, 64, 10, spread=1.0)
    same_fit(
        lowbit.KMeans(10, random_state=0, memory=2, max_iter=5).fit(x),
        lowbit.KMeans(10, random_state=0, max_iter=5).fit(x),
    )


def test_fewer_distinct_points_than_clusters() -> None:
    x = np.repeat(np.array([[0.0, 1.0], [5.0, 2.0]], dtype=np.float32), 10, axis=0)
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(2\) found smaller than n_clusters \(4\)") as found:
        kmeans = lowbit.KMeans(4, random_state=0).fit(x)
    assert found[0].filename == __file__
    assert kmeans.inertia_ == 0
    assert len(np.unique(kmeans.labels_)) == 2


def test_as_many_clusters_as_points() -> None:
    x = blobs(12, 3, 12)
    kmeans = lowbit.KMeans(12, random_state=0).fit(x)
    assert kmeans.inertia_ == 0 and sorted(kmeans.labels_) == list(range(12))
    one = lowbit.KMeans(1).fit(x)
    np.testing.assert_allclose(one.cluster_centers_[0], x.astype(np.float64).mean(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"n_clusters": 0}, "n_clusters"),
        ({"n_clusters": 2.0}, "n_clusters"),
        ({"n_clusters": True}, "n_clusters"),
        ({"n_clusters": 31}, "n_samples=30 should be >= n_clusters=31"),
        ({"n_init": 0}, "n_init"),
        ({"n_init": "many"}, "n_init"),
        ({"max_iter": 0}, "max_iter"),
        ({"tol": -1.0}, "tol"),
        ({"tol": float("nan")}, "tol"),
        ({"metric": "manhattan"}, "metric"),
        ({"memory": 0}, "memory"),
        ({"random_state": -1}, "random_state"),
        ({"random_state": 1 << 64}, "random_state"),
        ({"n_clusters": 1 << 70}, "n_clusters"),
        ({"n_init": 1 << 32}, "n_init"),
        ({"max_iter": 1 << 40}, "max_iter"),
        ({"tol": 10**400}, "tol"),
        ({"memory": 1 << 50}, "memory"),
        ({"progress": 3}, "progress"),
        ({"adapter": 3}, "adapter is 3"),
        ({"metric": np.array(["dot", "cosine"])}, "metric"),
        ({"adapter": "no adapter has this in its name"}, "no adapter has this in its name"),
    ],
)
def test_parameters_refused(estimator: Any, bad: dict[str, Any], text: str) -> None:
    with pytest.raises(lowbit.InputError, match=text) as raised:
        estimator(**bad).fit(blobs(30, 3, 2))
    assert isinstance(raised.value, ValueError) and isinstance(raised.value, lowbit.Error)


def test_balanced_clusters_are_of_one_size() -> None:
    x = blobs(203, 3, 2, spread=0.3)
    kmeans = lowbit.KMeans(10, balanced=True, random_state=0).fit(x)
    assert set(np.bincount(kmeans.labels_)) == {20, 21}
    # The nearest centroids are nearer.
    assert -kmeans.score(x) < kmeans.inertia_
    with pytest.raises(lowbit.InputError, match="weights cannot be had with balanced clusters"):
        kmeans.fit(x, sample_weight=np.arange(203) + 1)


def test_parameters_of_one_refused() -> None:
    x = blobs(30, 3, 2)
    for kmeans, text in (
        (lowbit.KMeans(2, algorithm="full"), "algorithm"),
        (lowbit.KMeans(2, empty="drop"), "empty"),
        (lowbit.KMeans(2, frozen=np.zeros((3, 3))), "from 1 to 2 rows of 3 values"),
        (lowbit.KMeans(2, frozen=np.zeros((1, 9))), "frozen"),
        (lowbit.KMeans(2, frozen=np.zeros(2)), "frozen"),
        (lowbit.KMeans(2, frozen=[[0, 0, 0]], init=np.zeros((2, 3))), "1 of them frozen"),
        (lowbit.MiniBatchKMeans(2, init="bisecting"), "init"),
        (lowbit.MiniBatchKMeans(2, batch_size=0), "batch_size"),
        (lowbit.MiniBatchKMeans(2, batch_size=1 << 64), "batch_size"),
        (lowbit.MiniBatchKMeans(2, init_size=1 << 64), "init_size"),
        (lowbit.MiniBatchKMeans(2, max_no_improvement=1 << 32), "max_no_improvement"),
        (lowbit.MiniBatchKMeans(2, reassignment_ratio=-1), "reassignment_ratio"),
        (lowbit.MiniBatchKMeans(2, reassignment_ratio=2), "reassignment_ratio"),
        (lowbit.MiniBatchKMeans(2, max_no_improvement=-1), "max_no_improvement"),
        (lowbit.MiniBatchKMeans(2, init_size=1), "init_size"),
    ):
        with pytest.raises(ValueError, match=text):
            kmeans.fit(x)


def test_zero_rows_have_no_direction() -> None:
    x = blobs(30, 3, 2)
    x[4] = 0
    with pytest.raises(ValueError, match="row 4 is 0 throughout"):
        lowbit.KMeans(2, metric="cosine").fit(x)


def bits_of_command_line(folder: Path, points: Path, *options: Any) -> tuple[Floats, Any, dict[str, Any]]:
    centroids, labels = folder / "centroids.npy", folder / "labels.npy"
    printed = lowbit_cli("kmeans", "fit", points, "-q", "--json", "--centroids", centroids, "--labels", labels, *options)
    return np.load(centroids), np.load(labels), json.loads(printed)


def same_as_command_line(kmeans: Any, found: tuple[Floats, Any, dict[str, Any]]) -> None:
    centers, labels, report = found
    assert kmeans.cluster_centers_.tobytes() == centers.tobytes()
    np.testing.assert_array_equal(kmeans.labels_, labels)
    assert (kmeans.inertia_, kmeans.n_iter_) == (report["inertia"], report["n_iter"])


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "bisecting", "two-level", "random"])
def test_same_bits_as_command_line(tmp_path: Path, init: str) -> None:
    x = blobs(2000, 10, 7, spread=1.0)
    np.save(tmp_path / "points.npy", x)
    kmeans = lowbit.KMeans(7, init=init, random_state=5, n_init=2).fit(x)
    options = ("--seed", 5, "--k", 7, "--init", init, "--n-init", 2)
    same_as_command_line(kmeans, bits_of_command_line(tmp_path, tmp_path / "points.npy", *options))


def test_frozen_centroids_stay_to_the_bit(tmp_path: Path) -> None:
    x = blobs(1500, 6, 5, spread=1.0)
    frozen = x[:2] / np.float32(3)
    np.save(tmp_path / "points.npy", x)
    np.save(tmp_path / "frozen.npy", frozen)
    kmeans = lowbit.KMeans(7, random_state=5, tol=0, frozen=frozen).fit(x)
    assert kmeans.cluster_centers_[:2].tobytes() == frozen.tobytes()
    np.testing.assert_array_equal(kmeans.predict(x), kmeans.labels_)
    options = ("--seed", 5, "--k", 7, "--tol", 0, "--frozen", tmp_path / "frozen.npy")
    same_as_command_line(kmeans, bits_of_command_line(tmp_path, tmp_path / "points.npy", *options))

    # The others are the means of their points, by numpy.
    for cluster in range(2, 7):
        mean = x[kmeans.labels_ == cluster].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(kmeans.cluster_centers_[cluster], mean, atol=1e-5)
    given = lowbit.KMeans(7, init=x[:5], frozen=frozen.astype(np.float64).tolist()).fit(x)
    asked = lowbit.KMeans(7, init=lambda x, k, random_state: x[:k], n_init=1, frozen=frozen).fit(x)
    assert given.cluster_centers_.tobytes() == asked.cluster_centers_.tobytes()
    assert given.cluster_centers_[:2].tobytes() == frozen.tobytes()
    all_frozen = lowbit.KMeans(2, frozen=frozen).fit(x)
    assert all_frozen.n_iter_ == 1 and all_frozen.cluster_centers_.tobytes() == frozen.tobytes()


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "dot"])
def test_same_bits_as_command_line_on_assets(tmp_path: Path, metric: str) -> None:
    points = ASSETS / "kmeans" / "points.npy"
    kmeans = lowbit.KMeans(12, random_state=3, metric=metric).fit(np.load(points))
    same_as_command_line(kmeans, bits_of_command_line(tmp_path, points, "--seed", 3, "--k", 12, "--metric", metric))


@pytest.mark.parametrize("weighted", [False, True])
def test_same_bits_as_command_line_of_mini_batch(tmp_path: Path, weighted: bool) -> None:
    points = ASSETS / "kmeans" / "points.npy"
    x = np.load(points)
    weights = np.arange(len(x), dtype=np.float32)
    kmeans = lowbit.MiniBatchKMeans(12, random_state=3, batch_size=256).fit(x, sample_weight=weights if weighted else None)
    options: list[Any] = ["--seed", 3, "--k", 12, "--mini-batch", 256]
    if weighted:
        np.save(tmp_path / "weights.npy", weights)
        options += ["--weights", tmp_path / "weights.npy"]
    same_as_command_line(kmeans, bits_of_command_line(tmp_path, points, *options))


def test_agrees_with_scikit_learn_on_assets() -> None:
    points, init = (np.load(ASSETS / "kmeans" / f"{name}.npy") for name in ("points", "init"))
    reference = json.loads((ASSETS / "kmeans" / "reference.json").read_text())
    kmeans = lowbit.KMeans(12, init=init, tol=0).fit(points)
    np.testing.assert_array_equal(kmeans.labels_, np.load(ASSETS / "kmeans" / "labels.npy"))
    np.testing.assert_allclose(kmeans.inertia_, reference["inertia"], rtol=1e-5)
    assert kmeans.n_iter_ == reference["n_iter"]


@pytest.mark.skipif(not (SHARED / "data" / "kmeans").exists(), reason="the shared inputs are not part of the repository")
@pytest.mark.parametrize("weighted", [False, True])
def test_same_bits_as_command_line_on_shared(tmp_path: Path, weighted: bool) -> None:
    folder = SHARED / "data" / "kmeans"
    reference = json.loads((folder / "reference.json").read_text())
    weights = np.load(folder / "weights.npy") if weighted else None
    init = np.load(folder / "init.npy")
    points = np.load(folder / "points.npy", mmap_mode="r")
    kmeans = lowbit.KMeans(64, init=init, tol=0, max_iter=25).fit(points, sample_weight=weights)
    options: list[Any] = ["--k", 64, "--init", folder / "init.npy", "--tol", 0, "--max-iter", 25]
    if weighted:
        options += ["--weights", folder / "weights.npy"]
    same_as_command_line(kmeans, bits_of_command_line(tmp_path, folder / "points.npy", *options))
    expected = reference["weighted"] if weighted else reference
    np.testing.assert_allclose(kmeans.inertia_, expected["inertia"], rtol=1e-4)


def test_a_checkpoint_is_gone_after_a_fit_that_resumed_from_it(tmp_path: Path) -> None:
    x, path = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32), tmp_path / "state"

    def end(news: dict[str, Any]) -> None:
        if news.get("n_iter", 0) >= 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        lowbit.KMeans(4, random_state=0, checkpoint=path, progress=end).fit(x)
    assert path.exists()
    fitted = lowbit.KMeans(4, random_state=0, checkpoint=path).fit(x)
    assert not path.exists()
    assert fitted.inertia_ == lowbit.KMeans(4, random_state=0).fit(x).inertia_
    # Another clustering begins anew.
    lowbit.KMeans(4, random_state=1, checkpoint=os.fsencode(path)).fit(x[:100])
    with pytest.raises(lowbit.InputError, match="checkpoint"):
        lowbit.KMeans(4, checkpoint=1.5).fit(x)
