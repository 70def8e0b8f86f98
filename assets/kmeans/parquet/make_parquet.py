"""Writes points as Parquet files by pyarrow, in each of its encodings and compressions: python make_parquet.py, in this folder.

TYPE-CASE.parquet has the points of ../vecs/TYPE.f32 ([7, 5]); bad-CASE.parquet has what cannot be points.
"""

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

folder = pathlib.Path(__file__).parent
ROWS, COLS = 7, 5


def points(name):
    return np.fromfile(folder.parent / "vecs" / f"{name}.f32", "<f4").reshape(ROWS, COLS)


def lists(array, dtype, kind="list"):
    values = pa.array(array.astype(dtype).ravel())
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(values, COLS)
    offsets = np.arange(0, array.size + 1, COLS)
    if kind == "large":
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), values)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def write(name, columns, **options):
    # Row groups of unequal size, and pages that end within them.
    options = {"row_group_size": 3, "data_page_size": 16, "compression": "none", "use_dictionary": False, **options}
    pq.write_table(pa.table(columns), folder / f"{name}.parquet", **options)


def embeddings(array, dtype, kind="list"):
    ids, text = pa.array(range(ROWS)), pa.array([f"text {row}" for row in range(ROWS)])
    return {"id": ids, "embedding": lists(array, dtype, kind), "text": text}


floats = points("float32")
for compression in ["none", "snappy", "gzip", "brotli", "lz4", "zstd"]:
    write(f"float32-{compression}", embeddings(floats, "f4"), compression=compression)
for kind in ["fixed", "large"]:
    write(f"float32-{kind}", embeddings(floats, "f4", kind))
write("float32-double", embeddings(floats, "f8"))
write("float32-dictionary", embeddings(floats, "f4"), use_dictionary=True)
write("float32-v2", embeddings(floats, "f4"), data_page_version="2.0", compression="zstd", use_dictionary=True)
split = {"column_encoding": {"embedding.list.element": "BYTE_STREAM_SPLIT"}}
for name, dtype in [("float32", "f4"), ("float16", "f2"), ("int32", "i8")]:
    write(f"{name}-split", embeddings(points(name), dtype), **split)
delta = {"column_encoding": {"embedding.list.element": "DELTA_BINARY_PACKED"}}
for name, dtype in [("uint8", "u1"), ("int8", "i1"), ("int32", "i4")]:
    write(f"{name}-list", embeddings(points(name), dtype))
    write(f"{name}-delta", embeddings(points(name), dtype), **delta)
write("float16-list", embeddings(points("float16"), "f2"))
write("float32-columns", {f"c{at}": floats[:, at] for at in range(COLS)})
write("float32-mixed", {f"c{at}": floats[:, at].astype("f8" if at % 2 else "f4") for at in range(COLS)})
write("int8-columns", {f"c{at}": points("int8")[:, at].astype(["i1", "i2", "i4", "i8", "f4"][at]) for at in range(COLS)})
required = pa.schema([pa.field(f"c{at}", pa.float32(), nullable=False) for at in range(COLS)])
pq.write_table(pa.table([floats[:, at] for at in range(COLS)], schema=required), folder / "float32-required.parquet")

five = [[float(row + at) for at in range(COLS)] for row in range(ROWS)]
write("bad-null-row", {"x": pa.array(five[:4] + [None] + five[5:], pa.list_(pa.float32()))})
write("bad-null-value", {"x": pa.array(five[:5] + [[1.0, 2.0, None, 4.0, 5.0]] + five[6:], pa.list_(pa.float32()))})
write("bad-empty-list", {"x": pa.array(five[:3] + [[]] + five[4:], pa.list_(pa.float32()))})
write("bad-ragged", {"x": pa.array(five[:6] + [[1.0, 2.0]], pa.list_(pa.float32()))})
write("bad-nested", {"x": pa.array([[row] for row in five], pa.list_(pa.list_(pa.float32())))})
write("bad-struct", {"x": pa.array([{"a": row[0], "b": row[1]} for row in five])})
write("bad-two-lists", {"x": pa.array(five), "y": pa.array(five)})
write("bad-text", {"x": [row[0] for row in five], "name": ["a"] * ROWS})
write("bad-null-number", {"x": [row[0] for row in five], "y": [1.0, 2.0, None, 4.0, 5.0, 6.0, 7.0]})
write("bad-dates", {"x": pa.array(range(ROWS), pa.timestamp("s"))})
write("bad-large-number", {"x": pa.array([1, 2, 3, 4, (1 << 24) + 1, 6, 7], pa.int64()), "y": [0.5] * ROWS})
write("bad-no-rows", {"x": pa.array([], pa.list_(pa.float32()))})
