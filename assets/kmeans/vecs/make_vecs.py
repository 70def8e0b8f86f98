"""Writes points in every kind of file, and what numpy makes of them as float32: python make_vecs.py, in this folder."""

import json
import pathlib
import struct

import numpy as np

folder = pathlib.Path(__file__).parent
random = np.random.default_rng(5)
ROWS, COLS = 7, 5


def some(dtype):
    """Random bits, but for what is neither NaN nor infinite, with the ends of the type first."""
    if np.issubdtype(dtype, np.floating):
        info = np.finfo(dtype)
        bits = random.integers(0, 1 << info.bits, 4 * ROWS * COLS, np.uint64).astype(f"u{info.bits // 8}").view(dtype)
        ends = [0.0, -0.0, info.max, info.min, info.tiny, info.smallest_subnormal, -info.smallest_subnormal, 1.0]
    else:
        info = np.iinfo(dtype)
        low, high = max(info.min, -(1 << 24)), min(info.max, 1 << 24)
        bits, ends = random.integers(low, high + 1, ROWS * COLS).astype(dtype), [low, high, 0, 1]
    bits = bits[np.isfinite(bits)]
    return np.concatenate([np.array(ends, dtype), bits])[: ROWS * COLS].reshape(ROWS, COLS)


def vecs(name, array):
    lengths = np.full((ROWS, 1), COLS, "<i4").view(np.uint8)
    data = np.ascontiguousarray(array).view(np.uint8).reshape(ROWS, -1)
    (folder / name).write_bytes(np.concatenate([lengths, data], 1).tobytes())


def safetensors(name, **arrays):
    types = {"float32": "F32", "float16": "F16", "uint8": "U8", "int8": "I8", "int64": "I64"}
    header, data = {}, b""
    for key, array in arrays.items():
        begin, data = len(data), data + array.tobytes()
        header[key] = {"dtype": types[array.dtype.name], "shape": array.shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    (folder / name).write_bytes(struct.pack("<Q", len(text)) + text + data)


arrays = {name: some(np.dtype(name)) for name in ["float32", "float16", "uint8", "int8", "int32"]}
for name, array in arrays.items():
    if name != "int32":
        np.save(folder / f"{name}.npy", array)
    if name in ["float32", "float16"]:
        np.save(folder / f"{name}_big_endian.npy", array.astype(array.dtype.newbyteorder(">")))
    # What every file has to give.
    array.astype("<f4").tofile(folder / f"{name}.f32")
vecs("float32.fvecs", arrays["float32"])
vecs("uint8.bvecs", arrays["uint8"])
vecs("int32.ivecs", arrays["int32"])
safetensors("one.safetensors", ids=np.arange(ROWS), points=arrays["float16"])
safetensors("several.safetensors", **{name: array for name, array in arrays.items() if name != "int32"})
