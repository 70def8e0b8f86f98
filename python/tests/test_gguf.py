"""GGUF files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import lowbit
import numpy as np
import pytest
from helpers import SHARED, lowbit_cli, python
from numpy.testing import assert_array_equal

RNG = np.random.default_rng(3)
MATRIX = RNG.standard_normal((32, 256)).astype(np.float32)
METADATA = {
    "general.architecture": "none",
    "a.bool": True,
    "a.int": 7,
    "a.negative": -7,
    "a.long": 1 << 40,
    "a.float": 0.5,
    "a.double": np.float64(0.1),
    "a.byte": np.uint8(3),
    "a.texts": ["x", "ü"],
    "a.bytes": b"\xff\xfe",
    "a.numbers": np.arange(5, dtype=np.int16),
}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    tensors = {
        "q": lowbit.quantize(MATRIX, "Q4_K"),
        "w": MATRIX,
        "h": MATRIX.astype(np.float16),
        "i": np.arange(24, dtype=np.int32).reshape(2, 3, 4),
        "v": MATRIX[0].astype(np.float64),
        "u": np.arange(4, dtype=np.uint16),
    }
    path = tmp_path / "a.gguf"
    lowbit.write_gguf(path, tensors, METADATA)
    return path


def test_what_is_written_is_read(written: Path) -> None:
    file = lowbit.GgufFile(written)
    assert list(file) == ["q", "w", "h", "i", "v", "u"] and len(file) == 6 and "q" in file and "z" not in file
    for key, value in METADATA.items():
        assert_array_equal(file.metadata[key], value)
        assert type(file.metadata[key]) is not np.float64
    assert file.metadata["a.numbers"].dtype == np.int16
    assert_array_equal(file["w"], MATRIX)
    assert [file[name].dtype.name for name in "whi"] == ["float32", "float16", "int32"]
    assert_array_equal(file["i"], np.arange(24).reshape(2, 3, 4))
    assert file["u"].dtype == np.float32
    assert file["q"].dtype == np.uint8 and file["q"].shape == (32, 144)
    assert file.tensors["q"].shape == (32, 256) and file.tensors["q"].type == "Q4_K"
    assert_array_equal(file.weights("q").dequantize(), lowbit.quantize(MATRIX, "Q4_K").dequantize())
    assert_array_equal(file.dequantize("h"), MATRIX.astype(np.float16).astype(np.float32))


def test_tensors_are_views_of_the_file(written: Path) -> None:
    file = lowbit.GgufFile(written)
    view = file["w"]
    assert not view.flags.owndata and not view.flags.writeable
    assert np.shares_memory(file.weights("q").blocks, file["q"])
    file.close()
    assert_array_equal(view, MATRIX)


def test_the_command_line_quantizes_alike(tmp_path: Path) -> None:
    source, out = tmp_path / "f32.gguf", tmp_path / "q.gguf"
    lowbit.write_gguf(source, {"blk.0.w.weight": MATRIX}, {"general.architecture": "none"})
    for name in ("Q4_K", "Q3_K", "Q8_0", "IQ4_NL", "MXFP4"):
        lowbit_cli("quantize", source, out, "--to", name, "-q")
        found = lowbit.GgufFile(out)["blk.0.w.weight"]
        assert_array_equal(found, lowbit.quantize(MATRIX, name).blocks, err_msg=name)


def test_ggmls_own_reader_reads_what_is_written(written: Path) -> None:
    gguf = pytest.importorskip("gguf")
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(written).tensors}
    assert_array_equal(found["w"].data, MATRIX)
    assert_array_equal(found["i"].data, np.arange(24).reshape(2, 3, 4))
    assert_array_equal(found["q"].data, lowbit.GgufFile(written)["q"])


def test_split_files_are_one_model() -> None:
    parts = sorted((SHARED / "data" / "field" / "plan_split_gguf").glob("*.gguf"))
    if not parts:
        pytest.skip("no shared data")
    first, last = lowbit.GgufFile(parts[0]), lowbit.GgufFile(parts[-1])
    assert len(first.files) == len(parts) and list(first) == list(last)
    assert {of.file for of in first.tensors.values()} <= set(range(len(parts)))
    for name in first:
        assert first[name].nbytes == first.tensors[name].nbytes
        assert_array_equal(first[name], last[name])


def test_refusals(written: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        lowbit.GgufFile(tmp_path / "none.gguf")
    (tmp_path / "bad.gguf").write_bytes(b"GGUX" + bytes(60))
    with pytest.raises(lowbit.FileError, match="not a GGUF file"):
        lowbit.GgufFile(tmp_path / "bad.gguf")
    file = lowbit.GgufFile(written)
    with pytest.raises(KeyError):
        file["none"]
    with pytest.raises(lowbit.UnsupportedError, match="I32"):
        file.weights("i")
    bad = tmp_path / "new.gguf"
    refused: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"a": MATRIX.astype(complex)}, {}, "complex"),
        ({"a": np.zeros((1, 1, 1, 1, 1))}, {}, "dimensions"),
        ({"a": lowbit.quantize(MATRIX, "INT8_32")}, {}, "cannot hold"),
        ({"a": MATRIX}, {"a": object()}, "no value"),
        ({"a": MATRIX}, {"a": 1 << 70}, "64 bits"),
        ({"a": MATRIX}, {"a": np.zeros((2, 2))}, "one dimension"),
    ]
    for tensors, metadata, text in refused:
        with pytest.raises(lowbit.InputError, match=text):
            lowbit.write_gguf(bad, tensors, metadata)
        assert not bad.exists()


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np
import lowbit

read = 0

def reads():
    global read
    with open(sys.argv[1], "rb", buffering=0) as pipe:
        read += len(pipe.read(1 << 16))
        os.kill(os.getpid(), signal.SIGINT)
        # Until the writer has been told.
        time.sleep(0.5)
        while data := pipe.read(1 << 20):
            read += len(data)

thread = threading.Thread(target=reads)
thread.start()
try:
    lowbit.write_gguf(sys.argv[1], {"a": np.zeros((1 << 12, 1 << 12), dtype=np.float32)})
except KeyboardInterrupt:
    thread.join()
    print(read)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes with names")
def test_interrupt_ends_writing_soon(tmp_path: Path) -> None:
    # A pipe is written as it is read, so that the interrupt comes in the middle.
    os.mkfifo(tmp_path / "pipe")
    assert int(python(INTERRUPTED, str(tmp_path / "pipe"))) < 16 << 20
