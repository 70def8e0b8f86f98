"""How many clusters: each row is a fit, and silhouettes are scikit-learn's."""

from __future__ import annotations

import json
from typing import Any

import lowbit
import numpy as np
import pytest
from helpers import ASSETS, blobs, lowbit_cli
from sklearn.metrics import silhouette_score


def silhouettes(x: Any, ks: Any, metric: str = "euclidean", **fit: Any) -> list[float]:
    of = [lowbit.KMeans(k, metric=metric, random_state=0, **fit).fit(x).labels_ for k in ks]
    return [float(silhouette_score(np.asarray(x, dtype=np.float64), labels, metric=metric)) for labels in of]


def test_what_is_there_is_found() -> None:
    x = blobs(1200, 8, 6, seed=1)
    found = lowbit.choose_k(x, range(1, 15), n_init=4)
    assert (found.elbow, found.best_silhouette, found.sample) == (6, 6, 1200)
    assert found.k.tolist() == list(range(1, 15)) and np.isnan(found.silhouette[0])
    assert found.k.dtype == found.n_iter.dtype == np.int64 and found.converged.dtype == bool
    assert np.nanargmax(found.silhouette) == 5


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_rows_are_fits_and_silhouettes_are_those_of_scikit_learn(metric: str, dtype: Any) -> None:
    x = np.load(ASSETS / "kmeans" / "points.npy")[:300, :40].astype(dtype)
    ks = [2, 7, 30]
    found = lowbit.choose_k(x, ks, metric=metric)
    for at, k in enumerate(ks):
        fit = lowbit.KMeans(k, metric=metric, random_state=0).fit(x)
        assert (found.inertia[at], found.n_iter[at]) == (fit.inertia_, fit.n_iter_)
        assert found.distinct_clusters[at] == len(set(fit.labels_.tolist()))
    np.testing.assert_allclose(found.silhouette, silhouettes(x, ks, metric), rtol=0, atol=2e-6)


def test_settings_reach_the_fit() -> None:
    x, weights = blobs(500, 5, 9, seed=2, spread=0.8), np.arange(500.0) % 5
    settings: dict[str, Any] = {"init": "random", "max_iter": 3, "tol": 0.0, "empty": "keep", "memory": 1}
    found = lowbit.choose_k(x, [9, 4, 9], sample_weight=weights, random_state=3, **settings)
    assert found.k.tolist() == [4, 9]
    for at, k in enumerate([4, 9]):
        fit = lowbit.KMeans(k, random_state=3, **settings).fit(x, sample_weight=weights)
        assert (found.inertia[at], found.n_iter[at]) == (fit.inertia_, fit.n_iter_)
        expected = float(silhouette_score(x.astype(np.float64), fit.labels_))
        assert found.silhouette[at] == pytest.approx(expected, abs=2e-6)


def test_a_sample_is_near_the_whole_and_silhouettes_can_be_left_out() -> None:
    x = blobs(3000, 4, 5, seed=3, spread=0.3)
    whole = lowbit.choose_k(x, [3, 5, 8], sample_size=None)
    part = lowbit.choose_k(x, [3, 5, 8], sample_size=1000)
    assert (whole.sample, part.sample) == (3000, 1000)
    # Coefficients lie in [-1, 1] and are much alike in such clusters: the mean of 1000 of them is as exact as that.
    np.testing.assert_allclose(part.silhouette, whole.silhouette, rtol=0, atol=0.03)
    assert (part.silhouette != whole.silhouette).all()
    none = lowbit.choose_k(x, [3, 5, 8], silhouette=False)
    assert np.isnan(none.silhouette).all() and none.best_silhouette is None and none.sample == 0
    assert (none.inertia == whole.inertia).all()
    assert np.isnan(lowbit.choose_k(x, [3, 5], metric="dot").silhouette).all()


def test_progress_says_which_fit_is_at_work() -> None:
    x = blobs(200, 3, 4)
    news: list[dict[str, Any]] = []
    found = lowbit.choose_k(x, [2, 4], progress=news.append)
    assert {one["step"] for one in news} == {"seeding", "iterating", "fitted", "measuring"}
    fitted = [(one["k"], one["inertia"]) for one in news if one["step"] == "fitted"]
    assert fitted == list(zip(found.k.tolist(), found.inertia.tolist()))
    assert {(one["k"], one["fit"], one["fits"]) for one in news if one["step"] == "iterating"} == {(2, 0, 2), (4, 1, 2)}
    assert news[-1] == {"step": "measuring", "done": 200, "of": 200}
    lowbit.choose_k(x, [2, 4], progress=True)

    def stop(one: dict[str, Any]) -> None:
        if one["step"] == "fitted":
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        lowbit.choose_k(x, [2, 4], progress=stop)


def test_the_command_line_says_the_same() -> None:
    path = ASSETS / "kmeans" / "points.npy"
    said = json.loads(lowbit_cli("kmeans", "choose", path, "-k", "4..16x2", "--sample", "300", "--seed", "5", "--json"))
    found = lowbit.choose_k(np.load(path), [4, 8, 16], sample_size=300, random_state=5)
    for name in ("k", "inertia", "silhouette", "n_iter", "imbalance"):
        assert getattr(found, name).tolist() == [row[name] for row in said["candidates"]]
    assert (found.elbow, found.best_silhouette) == (said["elbow"], said["best_silhouette"])


def test_what_cannot_be_chosen_from_is_refused() -> None:
    x = blobs(30, 3, 4)
    nan = x.copy()
    nan[2, 1] = np.nan
    bad: list[tuple[Any, str]] = [
        (lambda: lowbit.choose_k(x, []), "ks is empty"),
        (lambda: lowbit.choose_k(x, 5), "ks is 5: expected several whole numbers"),  # type: ignore[arg-type]
        (lambda: lowbit.choose_k(x, [2, 0]), "ks is 0"),
        (lambda: lowbit.choose_k(x, [2.5]), "ks is 2.5"),  # type: ignore[list-item]
        (lambda: lowbit.choose_k(x, [2, 31]), "n_samples=30 should be >= n_clusters=31"),
        (lambda: lowbit.choose_k(x, [2], metric="city"), "metric"),
        (lambda: lowbit.choose_k(x, [2], init="x"), "init"),
        (lambda: lowbit.choose_k(x, [2], init=x[:2]), "init"),  # type: ignore[arg-type]
        (lambda: lowbit.choose_k(x, [2], n_init="many"), "n_init"),
        (lambda: lowbit.choose_k(x, [2], sample_size=1), "sample_size is 1"),
        (lambda: lowbit.choose_k(x, [2], sample_weight=[1.0]), "sample_weight"),
        (lambda: lowbit.choose_k(x, [2], tol=-1), "tol"),
        (lambda: lowbit.choose_k(x[0], [2]), "2 dimensions"),
        (lambda: lowbit.choose_k(nan, [2]), "NaN"),
    ]
    for call, words in bad:
        with pytest.raises(ValueError, match=words) as raised:
            call()
        assert isinstance(raised.value, lowbit.Error)
