"""The estimators among scikit-learn's."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import lowbit
import numpy as np
import pandas as pd
import pytest
from helpers import blobs, python
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

ESTIMATORS = [lowbit.KMeans, lowbit.MiniBatchKMeans]

# scikit-learn declares the same of its own estimators (sklearn/utils/_test_common/instance_generator.py).
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "rows are drawn by their numbers, and a repeated row has several",
}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_check_estimator(estimator: Any) -> None:
    found = check_estimator(estimator(), expected_failed_checks=EXPECTED, on_fail=None, on_skip=None)
    failed = [f"{check['check_name']}: {check['exception']!r}" for check in found if check["status"] == "failed"]
    assert not failed, "\n".join(failed)
    # What needs a package or a setting that is not there: only of the array API, which scikit-learn's own do not take either.
    skipped = {check["check_name"] for check in found if check["status"] == "skipped"}
    assert skipped <= {"check_array_api_input"}
    assert {check["check_name"] for check in found if check["status"] == "xfail"} == set(EXPECTED)
    assert len(found) > 50


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_pipeline_transforms_scales_and_predicts(estimator: Any) -> None:
    x = blobs(300, 5, 3)
    pipeline = make_pipeline(StandardScaler(), estimator(3, random_state=0)).fit(x)
    scaled = StandardScaler().fit_transform(x)
    alone = estimator(3, random_state=0).fit(scaled)
    np.testing.assert_array_equal(pipeline.predict(x), alone.predict(scaled))
    np.testing.assert_array_equal(pipeline.transform(x), alone.transform(scaled))
    names = [f"{estimator.__name__.lower()}{i}" for i in range(3)]
    assert list(pipeline.get_feature_names_out()) == names


def test_grid_search_prefers_more_clusters_where_there_are_more() -> None:
    x = blobs(400, 6, 4, spread=0.05)
    search = GridSearchCV(lowbit.KMeans(random_state=0, n_init=3), {"n_clusters": [1, 2, 4]}, cv=3).fit(x)
    assert search.best_params_ == {"n_clusters": 4}
    assert search.best_estimator_.n_features_in_ == 6


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_clone_has_parameters_and_no_fit(estimator: Any) -> None:
    fitted = estimator(3, metric="cosine", memory=64, random_state=5).fit(blobs(60, 4, 3))
    cloned = clone(fitted)
    assert cloned.get_params() == fitted.get_params()
    assert not hasattr(cloned, "cluster_centers_")


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_pickle_keeps_fit_without_device(estimator: Any) -> None:
    x = blobs(200, 4, 3)
    fitted = estimator(3, random_state=0).fit(x)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.cluster_centers_, fitted.cluster_centers_)
    np.testing.assert_array_equal(again.predict(x), fitted.predict(x))
    np.testing.assert_array_equal(again.labels_, fitted.labels_)


def test_partial_fit_goes_on_after_pickle() -> None:
    x = blobs(400, 4, 3)
    first = lowbit.MiniBatchKMeans(3, random_state=0).partial_fit(x[:200])
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(again.cluster_centers_, first.cluster_centers_)
    again.partial_fit(x[200:])
    assert again.n_steps_ == 2 and not hasattr(again, "n_iter_")
    assert not np.array_equal(again.cluster_centers_, first.cluster_centers_)


@pytest.mark.parametrize("batches", [0, 3])
def test_copies_learn_the_same_from_the_next_batch(batches: int) -> None:
    x = blobs(2000, 4, 3, spread=0.5)
    live = lowbit.MiniBatchKMeans(3, random_state=0, batch_size=256)
    if batches == 0:
        live.fit(x[:1000])
    for start in range(0, batches * 200, 200):
        live.partial_fit(x[start : start + 200])
    copies = [pickle.loads(pickle.dumps(live)), copy.deepcopy(live)]
    before = live.cluster_centers_
    # A batch may have fewer points than there are clusters once there are centroids.
    for batch in (x[1000:1200], x[1200:1202]):
        live.partial_fit(batch)
        for again in copies:
            again.partial_fit(batch)
            np.testing.assert_allclose(again.cluster_centers_, live.cluster_centers_, rtol=1e-5, atol=1e-6)
    assert 0 < np.abs(live.cluster_centers_ - before).max() < (0.2 if batches else 0.05)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_not_fitted_is_both_libraries_error(estimator: Any) -> None:
    x = blobs(30, 4, 3)
    kmeans = estimator(3)
    for ask in (kmeans.predict, kmeans.transform, kmeans.score, kmeans.get_feature_names_out):
        for kind in (NotFittedError, lowbit.NotFittedError):
            with pytest.raises(kind, match="not fitted"):
                ask(x)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_feature_names(estimator: Any) -> None:
    frame = pd.DataFrame(blobs(90, 3, 3), columns=["a", "b", "c"])
    fitted = estimator(3, random_state=0).fit(frame)
    assert list(fitted.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame.rename(columns={"a": "z"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        fitted.predict(frame.to_numpy())


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_set_output(estimator: Any) -> None:
    frame = pd.DataFrame(blobs(90, 3, 3), columns=["a", "b", "c"], index=range(10, 100))
    out = estimator(3, random_state=0).set_output(transform="pandas").fit_transform(frame)
    assert isinstance(out, pd.DataFrame)
    assert list(out.columns) == [f"{estimator.__name__.lower()}{i}" for i in range(3)]
    assert list(out.index) == list(frame.index)


def test_parameters_are_not_changed_by_fit() -> None:
    given = np.zeros((2, 3))
    given[1] = 1
    estimator = lowbit.KMeans(2, init=given, n_init=1, memory=64)
    before = {name: value for name, value in estimator.get_params().items()}
    estimator.fit(blobs(40, 3, 2))
    after = estimator.get_params()
    assert after["init"] is given
    assert {name: value for name, value in after.items() if name != "init"} == {
        name: value for name, value in before.items() if name != "init"
    }


WITHOUT = """
import sys
sys.modules["sklearn"] = None
import pickle
import numpy as np
import lowbit

x = np.load(sys.argv[1])
for estimator in (lowbit.KMeans, lowbit.MiniBatchKMeans):
    kmeans = estimator(3, random_state=4)
    assert repr(kmeans).startswith(estimator.__name__ + "(n_clusters=3")
    try:
        kmeans.predict(x)
        raise SystemExit("predicted before fit")
    except lowbit.NotFittedError as error:
        assert "not fitted" in str(error)
    try:
        kmeans.get_feature_names_out()
        raise SystemExit("named before fit")
    except lowbit.NotFittedError as error:
        assert "not fitted" in str(error)
    distances = kmeans.fit_transform(x)
    assert (distances.argmin(axis=1) == kmeans.predict(x)).all()
    assert list(kmeans.get_feature_names_out()) == [estimator.__name__.lower() + str(i) for i in range(3)]
    again = pickle.loads(pickle.dumps(kmeans))
    assert (again.predict(x) == kmeans.predict(x)).all()
    assert kmeans.set_params(n_clusters=2).get_params()["n_clusters"] == 2
    for bad, text in (
        ({"nothing": 1}, "Invalid parameter"),
    ):
        try:
            kmeans.set_params(**bad)
            raise SystemExit("took an unknown parameter")
        except ValueError as error:
            assert text in str(error)
    for bad, text in (
        (x[:, 0], "Expected 2D array"),
        (np.zeros((0, 3), dtype=np.float32), "Found array with 0 sample(s)"),
        (x.astype(complex), "Complex data not supported"),
        (x[:, :2], "is expecting 4 features"),
    ):
        try:
            again.predict(bad)
            raise SystemExit("took " + text)
        except ValueError as error:
            assert text in str(error), error
assert not any(name.startswith("sklearn.") for name in sys.modules)
np.save(sys.argv[2], lowbit.KMeans(3, random_state=4).fit(x).cluster_centers_)
"""


def test_works_the_same_without_scikit_learn(tmp_path: Any) -> None:
    x = blobs(120, 4, 3)
    points, centers = tmp_path / "points.npy", tmp_path / "centers.npy"
    np.save(points, x)
    python(WITHOUT, str(points), str(centers))
    np.testing.assert_array_equal(np.load(centers), lowbit.KMeans(3, random_state=4).fit(x).cluster_centers_)
