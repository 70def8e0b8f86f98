"""Writes the seeds of the reader of points: python make_vecs.py, in this folder. No seed has a name that says what it is:
each is opened under all of them."""

import json
import pathlib
import struct

folder = pathlib.Path(__file__).parent / "vecs"
folder.mkdir(exist_ok=True)


def npy(descr, shape, data, order="False"):
    text = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def safetensors(data, **tensors):
    header = {k: {"dtype": t, "shape": s, "data_offsets": o} for k, (t, s, o) in tensors.items()}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def row(length, data):
    return struct.pack("<i", length) + data


floats = struct.pack("<6f", 0.0, 1.5, -2.0, float("nan"), float("inf"), 1e-40)
seeds = {
    "empty": b"",
    "short": b"\x01\x00\x00",
    "npy-f4": npy("<f4", "(2, 3)", floats),
    "npy-f4-big": npy(">f4", "(2, 3)", floats),
    "npy-f2": npy("<f2", "(2, 3)", floats[:12]),
    "npy-u1": npy("|u1", "(2, 3)", floats[:6]),
    "npy-i1": npy("|i1", "(3, 2)", floats[:6]),
    "npy-f8": npy("<f8", "(3, 1)", floats),
    "npy-flat": npy("<f4", "(6,)", floats),
    "npy-zero": npy("<f4", "(0, 3)", b""),
    "npy-fortran": npy("<f4", "(2, 3)", floats, "True"),
    "npy-cut": npy("<f4", "(2, 3)", floats[:-1]),
    "npy-huge": npy("|u1", "(4294967296, 4294967296)", floats),
    "zip": b"PK\x03\x04" + floats,
    "safetensors-f32": safetensors(floats, w=("F32", [2, 3], [0, 24])),
    "safetensors-mixed": safetensors(floats, w=("F16", [2, 3], [0, 12]), x=("I8", [12], [12, 24])),
    "safetensors-several": safetensors(floats, w=("U8", [3, 4], [0, 12]), x=("I8", [12, 1], [12, 24])),
    "safetensors-bf16": safetensors(floats, w=("BF16", [4, 3], [0, 24])),
    "safetensors-zero": safetensors(b"", w=("F32", [0, 3], [0, 0])),
    "safetensors-none": safetensors(b""),
    "fvecs": row(3, floats[:12]) + row(3, floats[12:]),
    "fvecs-cut": row(3, floats[:12]) + row(3, floats[12:20]),
    "fvecs-lengths": row(3, floats[:12]) + row(2, floats[12:]),
    "bvecs": row(2, b"\x00\xff") + row(2, b"\x01\x80"),
    "bvecs-brace": row(8, b"\x00\x00\x00\x00{\x00\x00\x00"),
    "ivecs": row(2, struct.pack("<2i", -(1 << 24), 1 << 24)) + row(2, struct.pack("<2i", 0, -1)),
    "ivecs-beyond": row(2, struct.pack("<2i", 0, 1)) + row(2, struct.pack("<2i", 2, -(1 << 31))),
    "length-zero": row(0, b"") + row(0, b""),
    "length-negative": row(-1, floats),
    "length-huge": row((1 << 31) - 1, floats),
    "raw": floats,
    "raw-cut": floats[:-2],
}
for name, data in seeds.items():
    (folder / name).write_bytes(data)
