"""What goes in as an array, and what does not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import lowbit
import numpy as np
import pytest
import scipy.sparse
from helpers import blobs, python
from lowbit import _lowbit
from lowbit._arrays import as_kept, rows_of

X = blobs(300, 6, 4, spread=0.5)
ESTIMATORS = [lowbit.KMeans, lowbit.MiniBatchKMeans]


def fitted(x: Any) -> Any:
    return lowbit.KMeans(4, random_state=0).fit(x)


EXPECTED = fitted(X)


def same(x: Any) -> None:
    """`x` is to lowbit what `X` is."""
    found = fitted(x)
    np.testing.assert_array_equal(found.cluster_centers_, EXPECTED.cluster_centers_)
    np.testing.assert_array_equal(found.labels_, EXPECTED.labels_)
    np.testing.assert_array_equal(EXPECTED.predict(x), EXPECTED.labels_)
    np.testing.assert_array_equal(EXPECTED.transform(x), EXPECTED.transform(X))


def wide() -> Any:
    """An array of which every second column of every third row is `X`."""
    big = np.full((3 * X.shape[0], 2 * X.shape[1]), np.nan, dtype=np.float32)
    big[::3, ::2] = X
    return big


class WithArray:
    """Has ``__array__`` alone."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return X if dtype is None else X.astype(dtype)


class WithDlpack:
    """Has ``__dlpack__`` alone."""

    def __dlpack__(self, **arguments: Any) -> Any:
        return X.__dlpack__(**arguments)

    def __dlpack_device__(self) -> Any:
        return X.__dlpack_device__()


@pytest.mark.parametrize(
    "x",
    [
        np.asfortranarray(X),
        X[::-1, ::-1].copy()[::-1, ::-1],
        wide()[::3, ::2],
        X.astype(">f4"),
        X.astype("<f4"),
        X.astype(np.float64),
        X.astype(">f8"),
        X.astype(np.longdouble),
        X.tolist(),
        [row for row in X],
        X.data,
        WithArray(),
        WithDlpack(),
    ],
    ids=["fortran", "negative", "strided", "big", "little", "f64", "big f64", "long", "list", "rows", "buffer", "array", "dlpack"],
)
def test_layouts_and_containers(x: Any) -> None:
    same(x)


def test_read_only() -> None:
    x = X.copy()
    x.flags.writeable = False
    same(x)


def test_points_are_not_changed() -> None:
    for x in (X.copy(), np.asfortranarray(X), X.astype(np.float64)):
        before = x.copy()
        fitted(x).transform(x)
        np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8, np.int8])
def test_no_copy_of_what_a_device_has(dtype: Any) -> None:
    x = np.ones((4, 3), dtype=dtype)
    assert rows_of(x).__array_interface__ == x.__array_interface__
    assert np.shares_memory(as_kept(x[1:3]), x)
    swapped = x.astype(x.dtype.newbyteorder())
    assert as_kept(swapped).dtype == dtype and as_kept(swapped).dtype.isnative


@pytest.mark.parametrize("dtype", [np.bool_, np.int16, np.int64, np.uint64, np.float64])
def test_other_numbers_become_float32(dtype: Any) -> None:
    assert as_kept(np.ones((2, 2), dtype=dtype)).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int8, np.int32, np.uint64, np.float16])
def test_small_numbers(dtype: Any) -> None:
    x = (np.random.default_rng(0).integers(0, 2, size=(200, 5)) * (1 if dtype == np.bool_ else 100)).astype(dtype)
    found, expected = fitted(x), fitted(x.astype(np.float32))
    np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
    np.testing.assert_array_equal(found.labels_, expected.labels_)


def test_all_names_are_there() -> None:
    assert len(set(lowbit.__all__)) == len(lowbit.__all__)
    for name in lowbit.__all__:
        assert getattr(lowbit, name) is not None


def saved(folder: Path, x: Any, mode: Any = "r") -> Any:
    path = folder / "x.npy"
    np.save(path, x)
    return np.load(path, mmap_mode=mode)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
def test_memory_maps(tmp_path: Path, mode: str, dtype: Any) -> None:
    same(saved(tmp_path, X.astype(dtype), mode))


def test_memory_map_is_read_as_a_file(tmp_path: Path) -> None:
    if sys.platform in ("linux", "win32"):
        for mode in ("r", "r+"):
            assert isinstance(rows_of(saved(tmp_path, X, mode)), _lowbit.FileRows)
    # What is converted, gathered or only in memory is not in the file as it is.
    assert isinstance(rows_of(saved(tmp_path, X.astype(np.float64))), np.ndarray)
    assert isinstance(rows_of(saved(tmp_path, X)[::2]), np.ndarray)
    assert isinstance(rows_of(saved(tmp_path, X, "c")), np.ndarray)
    assert isinstance(rows_of(np.array(saved(tmp_path, X))), np.ndarray)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a map's pages may not be the file's")
def test_memory_map_is_not_written_out_to_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = saved(tmp_path, X + 1, "r+")
    monkeypatch.setattr(np.memmap, "flush", lambda self: pytest.fail("flushed"))
    mapped[:] = X
    assert isinstance(rows_of(mapped), _lowbit.FileRows)
    same(mapped)
    monkeypatch.undo()


@pytest.mark.parametrize("first", [0, 1, 1024, 2047])
def test_view_of_rows_of_a_memory_map(tmp_path: Path, first: int) -> None:
    big = np.full((first + len(X) + 5, X.shape[1]), np.nan, dtype=np.float32)
    big[first : first + len(X)] = X
    view = saved(tmp_path, big)[first : first + len(X)]
    same(view)
    same(view[:, :])
    same(np.asarray(view))


def test_view_of_columns_and_types_of_a_memory_map(tmp_path: Path) -> None:
    same(saved(tmp_path, wide())[::3, ::2])
    same(saved(tmp_path, X.view(np.uint8)).view(np.float32))
    same(saved(tmp_path, X.reshape(-1)).reshape(X.shape))
    same(saved(tmp_path, np.stack([X + 1, X]))[1])


def test_raw_memory_map_with_offset(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    for offset in (0, 12, 4096, 70_000):
        path.write_bytes(b"\1" * offset + X.tobytes())
        same(np.memmap(path, dtype=np.float32, mode="r", offset=offset, shape=X.shape))


def test_changes_of_a_memory_map_count(tmp_path: Path) -> None:
    other = saved(tmp_path, X + 1, "r+")
    other[:] = X
    same(other)
    copied = saved(tmp_path, X + 1, "c")
    copied[:] = X
    same(copied)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), X + 1)


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is mapped cannot be removed")
def test_memory_map_of_a_removed_file(tmp_path: Path) -> None:
    mapped = saved(tmp_path, X)
    (tmp_path / "x.npy").unlink()
    same(mapped)


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is mapped cannot be replaced")
def test_memory_map_of_a_replaced_file(tmp_path: Path) -> None:
    mapped = saved(tmp_path, X)
    np.save(tmp_path / "y.npy", X + 1)
    (tmp_path / "y.npy").replace(tmp_path / "x.npy")
    other = np.load(tmp_path / "x.npy", mmap_mode="r")
    same(mapped)
    assert not np.array_equal(fitted(other).cluster_centers_, EXPECTED.cluster_centers_)


def test_memory_map_of_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", X)
    monkeypatch.chdir(tmp_path)
    mapped = np.load("x.npy", mmap_mode="r")
    monkeypatch.chdir("/")
    same(mapped)


BAD = [
    (X.astype(complex), ValueError, "Complex data not supported"),
    (scipy.sparse.csr_matrix(X), TypeError, "[Ss]parse data was passed"),
    ([[1.0, 2.0], [3.0]], ValueError, "inhomogeneous"),
    (X[:, 0], ValueError, "Expected 2D array, got 1D array instead"),
    (X[None], ValueError, "dim 3|3D"),
    (np.float32(3), ValueError, "Expected 2D array, got scalar array instead"),
    (np.zeros((0, 6), dtype=np.float32), ValueError, r"Found array with 0 sample\(s\)"),
    (np.zeros((6, 0), dtype=np.float32), ValueError, r"Found array with 0 feature\(s\)"),
    (np.array([["a", "b"]] * 9), ValueError, "numbers are expected"),
    (np.array([[object(), 1]] * 9), TypeError, "must be a string or a.* number"),
    (None, ValueError, "Expected 2D array"),
]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("x", "kind", "text"), BAD)
def test_refused(estimator: Any, x: Any, kind: Any, text: str) -> None:
    with pytest.raises(kind, match=text):
        estimator(2).fit(x)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_refused(estimator: Any, value: float) -> None:
    for dtype in (np.float32, np.float16, np.float64):
        x = X.astype(dtype)
        x[17, 3] = value
        # scikit-learn says what it is, lowbit where it is as well.
        with pytest.raises(lowbit.NotFiniteError, match=r"(?i)(nan|inf)") as raised:
            estimator(2, random_state=0).fit(x)
        assert isinstance(raised.value, ValueError)
        kmeans = estimator(2, random_state=0).fit(X)
        for ask in (kmeans.predict, kmeans.transform, kmeans.score):
            with pytest.raises(lowbit.NotFiniteError):
                ask(x)


@pytest.mark.parametrize("dtype", [np.float64, object])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_too_large_for_float32_refused(estimator: Any, dtype: Any) -> None:
    x = X.astype(dtype)
    x[3, 1] = -1e300
    with pytest.raises(lowbit.NotFiniteError, match=r"X: row 3, value 1 is -1e\+300, and float32 holds numbers up to 3.4"):
        estimator(4, random_state=0).fit(x)


def test_too_large_arrays_refused() -> None:
    x = np.ones((2, 32))
    x[1, 7] = 1e39
    with pytest.raises(lowbit.NotFiniteError, match=r"array: row 1, value 7 is 1e\+39, and float32 holds"):
        lowbit.quantize(x, "Q8_0")
    x[1, 7] = np.inf
    with pytest.raises(lowbit.NotFiniteError) as raised:
        lowbit.quantize(x, "Q8_0")
    assert "float32 holds" not in str(raised.value)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_fit_that_failed_leaves_what_was_learnt(estimator: Any) -> None:
    fresh, fit = estimator(4, random_state=0), estimator(4, random_state=0).fit(X)
    spoilt = np.full((20, 3), np.nan, dtype=np.float32)
    for of in (fresh, fit):
        with pytest.raises(lowbit.NotFiniteError):
            of.fit(spoilt)
    assert not hasattr(fresh, "n_features_in_")
    assert fit.n_features_in_ == X.shape[1] and len(fit.predict(X)) == len(X)


def test_objects_that_are_numbers() -> None:
    same(X.astype(object))


WITHOUT = """
import sys
sys.modules["sklearn"] = None
import numpy as np
import lowbit

X = np.load(sys.argv[1])
expected = lowbit.KMeans(4, random_state=0).fit(X)
for x in (np.asfortranarray(X), X.astype(">f4"), X.astype(np.float64), X.tolist(), np.load(sys.argv[1], mmap_mode="r")[:]):
    found = lowbit.KMeans(4, random_state=0).fit(x)
    assert (found.cluster_centers_ == expected.cluster_centers_).all()
    assert (expected.predict(x) == expected.labels_).all()


class Sparse:
    def toarray(self):
        return X


for x, kind in (
    (X.astype(complex), ValueError),
    (Sparse(), TypeError),
    ([[1.0, 2.0], [3.0]], ValueError),
    (X[:, 0], ValueError),
    (X[None], ValueError),
    (np.zeros((0, 6)), ValueError),
    (np.array([["a", "b"]] * 9), ValueError),
    (np.array([[object(), 1]] * 9), TypeError),
    (None, ValueError),
    (np.where(X == X[3, 3], np.nan, X), ValueError),
):
    try:
        lowbit.KMeans(2).fit(x)
    except kind:
        continue
    raise SystemExit(f"took {x!r}")
"""


def test_without_scikit_learn(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    python(WITHOUT, str(tmp_path / "x.npy"))


PEAK = """
import sys
import numpy as np
import lowbit

def peak():
    # Not ru_maxrss, which a process has from the one that started it.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmHWM"))

x = np.load(sys.argv[1], mmap_mode="r")
lowbit.KMeans(2, random_state=0).fit(x[:1000])
before = peak()
kmeans = lowbit.KMeans(4, init=np.array(x[:4]), memory=64, max_iter=2).fit(x)
kmeans.predict(x)
print(before, peak())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a map is read as memory, or its peak is not to be had")
def test_memory_map_larger_than_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(600_000, 128))
    block = blobs(60_000, 128, 4)
    for start in range(0, 600_000, 60_000):
        mapped[start : start + 60_000] = block
    mapped.flush()
    del mapped
    before, peak = map(int, python(PEAK, str(path)).split())
    print(f"peak {peak} MiB, {before} MiB before")
    # 293 MiB of points; 64 MiB of them at a time on a device that may be this very memory, and two blocks on their way to it.
    assert peak - before < 200, f"{before} MiB before, {peak} MiB at most"


def test_unaligned_values_are_copied() -> None:
    x = np.random.default_rng(3).normal(size=(200, 4)).astype(np.float32)
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.float32, offset=1).reshape(x.shape)
    assert not unaligned.flags.aligned
    fitted = lowbit.KMeans(3, random_state=0).fit(unaligned)
    assert (fitted.labels_ == lowbit.KMeans(3, random_state=0).fit(x).labels_).all()
    assert (lowbit.quantize(unaligned.reshape(-1, 32), "Q8_0").blocks == lowbit.quantize(x.reshape(-1, 32), "Q8_0").blocks).all()


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[s]", "U3", "S3"])
def test_what_is_no_number_is_refused(dtype: str) -> None:
    x = np.arange(8).reshape(4, 2).astype(dtype)
    with pytest.raises(lowbit.InputError, match="numbers are expected"):
        lowbit.KMeans(2).fit(x)
    with pytest.raises(lowbit.InputError, match="numbers are expected"):
        lowbit.KMeans(2).fit(np.eye(4), sample_weight=x[:, 0])
    with pytest.raises(lowbit.InputError, match="numbers are expected"):
        lowbit.KMeans(2, init=x[:2]).fit(np.eye(4, 2))


def test_masked_arrays_are_refused() -> None:
    x = np.ma.masked_less(np.eye(4, dtype=np.float32), 0.5)
    for call in (lambda: lowbit.KMeans(2).fit(x), lambda: lowbit.quantize(x, "F16")):
        with pytest.raises(lowbit.InputError, match="masked"):
            call()
