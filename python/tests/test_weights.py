"""Quantized weights and products with them."""

from __future__ import annotations

import copy
import os
import pickle

import lowbit
import numpy as np
import pytest
from helpers import ASSETS, SHARED, Floats, python
from numpy.testing import assert_allclose, assert_array_equal

RNG = np.random.default_rng(7)
WEIGHTS: Floats = RNG.standard_normal((48, 512)).astype(np.float32)
NAMES = [of.name for of in lowbit.formats()]
WRITTEN = sorted(path.stem for path in (ASSETS / "gguf").glob("*.bin"))


def test_formats_are_described() -> None:
    by_name = {of.name: of for of in lowbit.formats()}
    q4_k = by_name["Q4_K"]
    assert (q4_k.ggml_type, q4_k.block_weights, q4_k.block_bytes, q4_k.bits_per_weight) == (12, 256, 144, 4.5)
    assert by_name["INT4_32"].ggml_type is None
    assert {"F32", "F16", "BF16", "Q8_0", "MXFP4"} <= set(by_name)


@pytest.mark.parametrize("name", WRITTEN)
def test_blocks_of_files_are_what_they_stand_for(name: str) -> None:
    values = np.load(ASSETS / "gguf" / f"{name}.npy")
    blocks = np.fromfile(ASSETS / "gguf" / f"{name}.bin", dtype=np.uint8).reshape(1, -1)
    found = lowbit.dequantize(blocks, name)
    assert found.dtype == np.float32
    assert_array_equal(found.reshape(-1), values.reshape(-1).astype(np.float32))


@pytest.mark.parametrize("name", NAMES)
def test_products_are_those_of_the_dequantized_weights(name: str) -> None:
    weights = lowbit.quantize(WEIGHTS, name)
    assert weights.shape == WEIGHTS.shape and weights.format == name
    assert weights.nbytes == weights.blocks.nbytes == round(WEIGHTS.size * weights.bits_per_weight / 8)
    x = RNG.standard_normal((3, 512)).astype(np.float32)
    bias = RNG.standard_normal(48).astype(np.float32)
    expected = x.astype(np.float64) @ weights.dequantize().astype(np.float64).T + bias
    found = lowbit.matmul(weights, x, bias, path="float")
    assert found.shape == (3, 48) and found.dtype == np.float32 and found.flags.c_contiguous
    assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    assert_allclose(lowbit.matmul(weights, x[0], path="float"), expected[0] - bias, rtol=0, atol=1e-4)


def test_integer_products_round_x() -> None:
    weights = lowbit.quantize(WEIGHTS, "Q4_0")
    x = RNG.standard_normal((5, 512)).astype(np.float32)
    expected = x.astype(np.float64) @ weights.dequantize().astype(np.float64).T
    error = lowbit.matmul(weights, x, path="integer") - expected
    assert 0 < (error**2).sum() / (expected**2).sum() < 2e-4


def test_a_file_and_its_reference_product() -> None:
    path = SHARED / "data" / "gguf"
    if not path.exists():
        pytest.skip("no shared data")
    file = lowbit.GgufFile(path / "ffn_down_all_types.gguf")
    x = np.load(path / "x.npy")
    for name in ("Q4_K", "Q8_0"):
        expected = np.load(path / f"matmul_{name}.npy")
        found = lowbit.matmul(file.weights(f"ffn_down.{name}"), x.T, path="float").T
        assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_quantizing_again_changes_nothing() -> None:
    for name in ("Q8_0", "BF16", "F16"):
        weights = lowbit.quantize(WEIGHTS, name)
        assert_array_equal(lowbit.quantize(weights.dequantize(), name).blocks, weights.blocks)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.uint8, np.dtype(">f4")])
def test_other_numbers_become_float32(dtype: np.dtype[np.generic]) -> None:
    x = np.abs(WEIGHTS * 20).astype(dtype)
    assert_array_equal(lowbit.quantize(x, "F32").dequantize(), x.astype(np.float32))
    assert_array_equal(lowbit.quantize(np.asfortranarray(x), "F32").dequantize(), x.astype(np.float32))
    assert_array_equal(lowbit.quantize(x[::-2], "F32").dequantize(), x[::-2].astype(np.float32))


def test_pickles_and_copies_have_the_blocks() -> None:
    weights = lowbit.quantize(WEIGHTS, "Q6_K")
    product = lowbit.matmul(weights, WEIGHTS[:2])
    for other in (pickle.loads(pickle.dumps(weights)), copy.deepcopy(weights), copy.copy(weights)):
        assert_array_equal(other.blocks, weights.blocks)
        assert (other.format, other.shape) == (weights.format, weights.shape)
        assert_array_equal(lowbit.matmul(other, WEIGHTS[:2]), product)
    weights.release()
    assert_array_equal(lowbit.matmul(weights, WEIGHTS[:2]), product)
    with pytest.raises(ValueError, match="read-only"):
        weights.blocks[0, 0] = 1


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (WEIGHTS[0], "2 dimensions"),
        (WEIGHTS[:, :100], "multiple of 256|whole blocks"),
        (WEIGHTS.astype(complex), "complex"),
        (WEIGHTS.astype(object), "object"),
        (np.zeros((0, 256)), "no values"),
        ([[1.0, 2.0], [3.0]], "inhomogeneous"),
        ([["a", "b"]], "numbers are expected"),
    ],
)
def test_what_is_no_matrix_is_refused(x: object, text: str) -> None:
    with pytest.raises(lowbit.InputError, match=text):
        lowbit.quantize(x, "Q4_K")


def test_sparse_matrices_are_refused() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(lowbit.InputError, match="sparse"):
        lowbit.quantize(sparse.eye(256), "Q4_K")


def test_refusals() -> None:
    bad = WEIGHTS.copy()
    bad[3, 17] = np.nan
    with pytest.raises(lowbit.NotFiniteError, match=r"\[3, 17\] is NaN"):
        lowbit.quantize(bad, "Q8_0")
    bad[3, 17] = 1e38
    with pytest.raises(lowbit.InputError, match="too large for F16"):
        lowbit.quantize(bad, "F16")
    with pytest.raises(lowbit.InputError, match="expected one of F32"):
        lowbit.quantize(WEIGHTS, "Q9")
    weights = lowbit.quantize(WEIGHTS, "Q8_0")
    with pytest.raises(lowbit.InputError, match=r"x is \[n, cols\]"):
        lowbit.matmul(weights, WEIGHTS.T)
    with pytest.raises(lowbit.InputError, match="bias"):
        lowbit.matmul(weights, WEIGHTS, bias=[1.0])
    with pytest.raises(lowbit.InputError, match="path"):
        lowbit.matmul(weights, WEIGHTS, path="fast")
    with pytest.raises(lowbit.InputError, match="quantized weights are expected"):
        lowbit.matmul(WEIGHTS, WEIGHTS)  # type: ignore[arg-type]
    with pytest.raises(lowbit.InputError, match="adapter"):
        lowbit.matmul(weights, WEIGHTS, adapter="no such adapter")
    with pytest.raises(lowbit.UnsupportedError):
        lowbit.matmul(lowbit.quantize(WEIGHTS, "F32"), WEIGHTS, path="integer")
    with pytest.raises(lowbit.NotFiniteError):
        lowbit.matmul(weights, bad * np.inf, path="integer")
    with pytest.raises(lowbit.InputError, match="blocks"):
        lowbit.QuantizedWeights(weights.blocks[:, :-1], "Q8_0", 512)
    with pytest.raises(lowbit.InputError, match="format"):
        lowbit.dequantize(weights.blocks)


def test_weights_that_are_not_finite_are_taken_if_so_said() -> None:
    values = np.ones((2, 4), dtype=np.float32)
    values[1, 2] = np.inf
    weights = lowbit.QuantizedWeights(values.view(np.uint8), "F32", 4)
    with pytest.raises(lowbit.NotFiniteError, match=r"\[1, 2\] is inf"):
        lowbit.matmul(weights, np.ones(4))
    assert_array_equal(lowbit.matmul(weights, np.ones(4), allow_nonfinite=True), [4, np.inf])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_is_refused_what_is_on_the_device() -> None:
    code = """
import os, numpy as np, lowbit
weights, x = lowbit.quantize(np.ones((4, 32)), "Q8_0"), np.ones((1, 32))
cache = lowbit.kv.Cache(1, 2, 2, 32, tokens=64)
lowbit.matmul(weights, x)
child = os.fork()
if child == 0:
    refused = 0
    for call in (lambda: lowbit.matmul(weights, x), lambda: cache.step({cache.create(): 1})):
        try:
            call()
        except lowbit.UnsupportedError as error:
            refused += "forked" in str(error)
    os._exit(refused)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert python(code).split() == ["2"]


def test_many_uploads_leave_nothing() -> None:
    resource = pytest.importorskip("resource")
    x = WEIGHTS[:4]
    sizes = []
    for _ in range(3):
        for _ in range(60):
            lowbit.matmul(lowbit.quantize(WEIGHTS, "Q8_0"), x, path="float")
        sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert sizes[2] - sizes[1] < 8 << 10
