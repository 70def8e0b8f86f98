"""The neighbours' habits: faiss.Kmeans, batched k-means, product quantization."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from typing import Any

import lowbit
import numpy as np
import pytest
from helpers import ASSETS, blobs
from lowbit.faiss_like import Kmeans
from numpy.testing import assert_allclose, assert_array_equal

POINTS = blobs(2000, 16, 10, seed=1, spread=0.5)


def squares(x: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """[n, k] squared distances in float64."""
    return np.asarray(((x[:, None].astype(np.float64) - centroids[None].astype(np.float64)) ** 2).sum(axis=-1))


def test_training_and_assigning() -> None:
    kmeans = Kmeans(16, 10, niter=15, nredo=2)
    objective = kmeans.train(POINTS)
    assert kmeans.centroids is not None and kmeans.obj is not None and kmeans.iteration_stats is not None
    assert kmeans.centroids.shape == (10, 16) and kmeans.centroids.dtype == np.float32
    assert objective == kmeans.obj[-1] and 1 <= len(kmeans.obj) <= 15
    assert (np.diff(kmeans.obj) <= 1e-6 * kmeans.obj[0]).all()
    assert [of["obj"] for of in kmeans.iteration_stats] == kmeans.obj.tolist()
    assert kmeans.iteration_stats[-1]["imbalance_factor"] >= 1
    distances, nearest = kmeans.assign(POINTS)
    assert (distances.dtype.name, nearest.dtype.name) == ("float32", "int64")
    truth = squares(POINTS, kmeans.centroids)
    assert_array_equal(nearest, truth.argmin(axis=1))
    assert_allclose(distances, truth.min(axis=1), rtol=1e-6)


def test_the_objective_is_that_of_the_centroids_before() -> None:
    first = POINTS[:10]
    kmeans = Kmeans(16, 10, niter=3)
    kmeans.train(POINTS, init_centroids=first)
    assert kmeans.obj is not None
    assert_allclose(kmeans.obj[0], squares(POINTS, first).min(axis=1).sum(), rtol=1e-6)


def test_given_centroids_and_weights_are_taken_as_by_numpy() -> None:
    first, weights = POINTS[:10], np.linspace(0.5, 2, len(POINTS))
    kmeans = Kmeans(16, 10, niter=1)
    kmeans.train(POINTS, weights=weights, init_centroids=first)
    assert kmeans.centroids is not None
    nearest = squares(POINTS, first).argmin(axis=1)
    expected = [np.average(POINTS[nearest == j].astype(np.float64), axis=0, weights=weights[nearest == j]) for j in range(10)]
    assert_allclose(kmeans.centroids, expected, rtol=0, atol=1e-5)


def test_frozen_centroids_stay() -> None:
    frozen = POINTS[:3] / np.float32(3)
    kmeans = Kmeans(16, 10, frozen_centroids=True, nredo=2)
    kmeans.train(POINTS, init_centroids=frozen)
    assert kmeans.centroids is not None and kmeans.obj is not None
    assert kmeans.centroids.shape == (10, 16) and kmeans.centroids[:3].tobytes() == frozen.tobytes()
    assert (np.diff(kmeans.obj) <= 1e-6 * kmeans.obj[0]).all() and len(kmeans.obj) > 2
    _, nearest = kmeans.assign(POINTS)
    assert_array_equal(nearest, squares(POINTS, kmeans.centroids).argmin(axis=1))
    with pytest.raises(lowbit.InputError, match="frozen_centroids=True needs"):
        kmeans.train(POINTS)
    for bad in (POINTS[:11], POINTS[:2, :3]):
        with pytest.raises(lowbit.InputError, match="at most 10 rows of 16 values"):
            kmeans.train(POINTS, init_centroids=bad)


def test_spherical_centroids_are_directions() -> None:
    kmeans = Kmeans(16, 10, spherical=True)
    kmeans.train(POINTS)
    assert kmeans.centroids is not None
    assert_allclose(np.linalg.norm(kmeans.centroids, axis=1), 1, rtol=1e-6)
    products, nearest = kmeans.assign(POINTS)
    truth = POINTS.astype(np.float64) @ kmeans.centroids.T.astype(np.float64)
    assert_array_equal(nearest, truth.argmax(axis=1))
    assert_allclose(products, truth.max(axis=1), rtol=1e-5)


def test_few_points_are_warned_of_and_many_are_sampled() -> None:
    with pytest.warns(UserWarning, match="at least 390 training points"):
        Kmeans(16, 10).train(POINTS[:100])
    sampled, whole = Kmeans(16, 4, max_points_per_centroid=50, niter=1), Kmeans(16, 4, niter=1, max_points_per_centroid=None)
    assert sampled.train(POINTS) < whole.train(POINTS) / 5


def test_one_seed_is_one_result() -> None:
    results: list[Any] = []
    for seed in (1, 1, 2):
        kmeans = Kmeans(16, 10, seed=seed, niter=2)
        kmeans.train(POINTS)
        results.append(kmeans.centroids)
    assert_array_equal(results[0], results[1])
    assert (results[0] != results[2]).any()


def test_verbose_prints_iterations(capsys: pytest.CaptureFixture[str]) -> None:
    Kmeans(16, 10, verbose=True).train(POINTS)
    assert "Iteration" in capsys.readouterr().out


def test_batches_are_as_each_alone() -> None:
    x = np.stack([blobs(300, 8, 5, seed=seed, spread=0.4) for seed in range(3)])
    labels, centroids, n_iter = lowbit.batch_kmeans(x, 5, random_state=3)
    assert (labels.shape, centroids.shape, n_iter.shape) == ((3, 300), (3, 5, 8), (3,))
    assert [of.dtype.name for of in (labels, centroids, n_iter)] == ["int32", "float32", "int32"]
    for at in range(3):
        alone = lowbit.KMeans(5, random_state=3, n_init=1, max_iter=100, tol=0).fit(x[at])
        assert_array_equal(labels[at], alone.labels_)
        assert_array_equal(centroids[at], alone.cluster_centers_)
        assert n_iter[at] == alone.n_iter_


def test_batches_have_weights_and_every_way_to_begin() -> None:
    x = np.stack([blobs(300, 8, 5, seed=seed, spread=0.4) for seed in range(3)])
    weights = np.random.default_rng(0).uniform(size=(3, 300)).astype(np.float32)
    for init in ("k-means||", "bisecting", "random"):
        batch = lowbit.batch_kmeans(x, 5, sample_weight=weights, init=init, random_state=2)
        for at in range(3):
            alone = lowbit.KMeans(5, init=init, random_state=2, n_init=1, max_iter=100, tol=0)
            assert_array_equal(batch.labels[at], alone.fit(x[at], sample_weight=weights[at]).labels_)
    equal = lowbit.batch_kmeans(x, 5, balanced=True)
    assert all((np.bincount(labels) == 60).all() for labels in equal.labels)
    for bad, text in (
        ({"sample_weight": weights[0]}, "sample_weight"),
        ({"sample_weight": weights[:, :3]}, r"\(3, 300\) is expected"),
        ({"sample_weight": -weights}, "weights are numbers"),
        ({"sample_weight": weights, "balanced": True}, "weights cannot be had with balanced clusters"),
        ({"init": "best"}, "init is 'best'"),
    ):
        with pytest.raises(lowbit.InputError, match=text):
            lowbit.batch_kmeans(x, 5, **bad)


def test_batches_have_more_by_name(caplog: pytest.LogCaptureFixture) -> None:
    x = np.stack([blobs(300, 8, 5, seed=seed, spread=0.4) for seed in range(3)])
    with caplog.at_level(logging.INFO, logger="lowbit"):
        short = lowbit.batch_kmeans(x, 5, 1, init_centroids=x[:, :5])
    assert "not converged" in caplog.text
    found = lowbit.batch_kmeans(x, 5)
    assert not short.converged.any() and found.converged.all() and found.converged.shape == (3,)
    truth = [squares(x[at], found.centroids[at]).min(axis=1).sum() for at in range(3)]
    assert_allclose(found.inertia, truth, rtol=1e-5)
    labels, centroids, n_iter = found
    assert labels is found.labels and centroids is found.centroids and n_iter is found.n_iter
    again = pickle.loads(pickle.dumps(found))
    assert_array_equal(again.inertia, found.inertia)
    assert_array_equal(again[1], centroids)


@pytest.mark.parametrize("made", [np.random.default_rng, np.random.RandomState])
def test_generators_are_seeds(made: Any) -> None:
    x = blobs(300, 8, 5, spread=1.0)
    ways: list[Callable[[Any], Any]] = [
        lambda state: lowbit.batch_kmeans(x[None], 5, 1, random_state=state)[1],
        lambda state: lowbit.product_quantizer(POINTS, 4, bits=4, max_iter=1, random_state=state).codebooks,
        lambda state: Kmeans(8, 5, seed=state).seed,
    ]
    for way in ways:
        assert_array_equal(way(made(3)), way(made(3)))
        assert np.any(way(made(3)) != way(made(4)))


def test_batches_begin_with_given_centroids() -> None:
    x = np.stack([blobs(300, 8, 5, seed=seed, spread=0.4) for seed in range(2)]).astype(np.float64)
    own = lowbit.batch_kmeans(x, 5, 1, init_centroids=x[:, :5])
    for at in range(2):
        shared = lowbit.batch_kmeans(x, 5, 1, init_centroids=x[at, :5])
        assert_array_equal(shared[1][at], own[1][at])
    assert_array_equal(own[2], [1, 1])


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.float64])
def test_product_quantization(dtype: Any) -> None:
    points = (POINTS * 20 + 60).clip(0, 255).astype(dtype)
    quantizer = lowbit.product_quantizer(points, 4, bits=5, random_state=1)
    assert (quantizer.m, quantizer.d, quantizer.bits) == (4, 16, 5)
    assert quantizer.codebooks.shape == (4, 32, 4) and quantizer.codes.shape == (2000, 4) and quantizer.codes.max() < 32
    decoded = quantizer.decode(quantizer.codes)
    assert decoded.shape == points.shape and decoded.dtype == np.float32
    x = points.astype(np.float64)
    assert_allclose(((x - decoded) ** 2).sum() / (x**2).sum(), quantizer.relative_squared_error, rtol=1e-4)
    assert_array_equal(quantizer.encode(points), quantizer.codes)
    books = np.stack([quantizer.codebooks[part][quantizer.codes[:, part]] for part in range(4)], axis=1).reshape(-1, 16)
    assert_array_equal(decoded, books)


def test_real_embeddings_are_quantized() -> None:
    points = np.load(ASSETS / "kmeans" / "points.npy")
    few = lowbit.product_quantizer(points, 8, bits=4)
    many = lowbit.product_quantizer(points, 48, bits=4)
    assert 0 < many.relative_squared_error < few.relative_squared_error < 1


def test_refusals() -> None:
    bad = POINTS.copy()
    bad[5, 5] = np.nan
    trained = lowbit.product_quantizer(POINTS, 4, bits=4)
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: Kmeans(16, 0), "k is 0"),
        (lambda: Kmeans(16, 3, niter=0), "niter is 0"),
        (lambda: Kmeans(16, 3, niter=1 << 40), "niter"),
        (lambda: Kmeans(16, 3, nredo=1 << 40), "nredo"),
        (lambda: Kmeans(16, 3, seed=1 << 64), "seed"),
        (lambda: lowbit.batch_kmeans(POINTS[None], 3, n_init=1 << 40), "n_init"),
        (lambda: lowbit.batch_kmeans(POINTS[None], 3, max_iters=1 << 40), "max_iters"),
        (lambda: lowbit.batch_kmeans(POINTS[None], 3, memory=1 << 50), "memory"),
        (lambda: lowbit.batch_kmeans(POINTS[None], 3, adapter=3), "adapter is 3"),  # type: ignore[arg-type]
        (lambda: lowbit.batch_kmeans(POINTS[None], 3, tol=10**400), "tol"),
        (lambda: lowbit.batch_kmeans(POINTS[None], 3, random_state="3"), "random_state"),
        (lambda: lowbit.roofline(peak_gbs=10**400), "peak_gbs"),
        (lambda: Kmeans(16, 10).train(POINTS[:, :5]), "d is 16"),
        (lambda: Kmeans(16, 10).train(POINTS[:5]), "n_samples=5"),
        (lambda: Kmeans(16, 10).train(bad), "NaN|nan"),
        (lambda: Kmeans(16, 10).train(POINTS, weights=[1, 2]), "weights"),
        (lambda: Kmeans(16, 10).train(POINTS, init_centroids=POINTS[:3]), "init_centroids"),
        (lambda: Kmeans(16, 10).assign(POINTS), "not trained"),
        (lambda: Kmeans(16, 10).train(POINTS.astype(complex)), "complex"),
        (lambda: lowbit.batch_kmeans(POINTS, 3), "3 dimensions"),
        (lambda: lowbit.batch_kmeans(POINTS[None], 3, init_centroids=POINTS[:2]), "init_centroids"),
        (lambda: lowbit.batch_kmeans(POINTS[None], 3, metric="city"), "metric"),
        (lambda: lowbit.batch_kmeans(POINTS[None], 3000), "n_samples"),
        (lambda: lowbit.product_quantizer(POINTS, 5), "m=5"),
        (lambda: lowbit.product_quantizer(POINTS, 4, bits=9), "4 to 8"),
        (lambda: lowbit.product_quantizer(POINTS[:9], 4), "fewer than"),
        (lambda: lowbit.product_quantizer(bad, 4), "NaN|nan"),
        (lambda: trained.encode(POINTS[:, :8]), "16"),
        (lambda: trained.decode(np.full((2, 4), 99)), "centroids"),
        (lambda: trained.decode(np.zeros((2, 4))), "whole numbers"),
    ]
    for wrong, text in refused:
        with pytest.raises(lowbit.InputError, match=text):
            wrong()
