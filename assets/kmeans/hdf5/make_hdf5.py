"""Writes points as HDF5 files by h5py, in each of its layouts: python make_hdf5.py, in this folder.

TYPE-CASE.h5 has the points of ../vecs/TYPE.f32 ([7, 5]); bad-CASE.h5 has what cannot be points, or not alone.
"""

import pathlib

import h5py
import numpy as np

folder = pathlib.Path(__file__).parent
ROWS, COLS = 7, 5


def points(name):
    return np.fromfile(folder.parent / "vecs" / f"{name}.f32", "<f4").reshape(ROWS, COLS)


def write(name, libver="earliest", **datasets):
    with h5py.File(folder / f"{name}.h5", "w", libver=libver) as file:
        for path, (array, options) in datasets.items():
            file.create_dataset(path, data=array, **options)


floats = points("float32")
write("float32-contiguous", x=(floats, {}))
write("float32-latest", libver="latest", x=(floats, {}))
write("float32-big", x=(floats.astype(">f4"), {}))
write("float32-double", x=(floats.astype("f8"), {}))
for name, options in {
    "chunks": {},
    "gzip": {"compression": "gzip"},
    "shuffle": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "lzf": {"compression": "lzf"},
}.items():
    write(f"float32-{name}", x=(floats, {"chunks": (2, 3), **options}))
write("float32-grows", libver=("v110", "v114"), x=(floats, {"chunks": (3, 5), "maxshape": (None, COLS), "compression": "gzip"}))
for name, dtype in [("float16", "f2"), ("uint8", "u1"), ("int8", "i1"), ("int32", "i4"), ("int32", "<i8")]:
    array = points(name).astype(dtype)
    write(f"{name}-{array.dtype.name}", x=(array, {}))
    write(f"{name}-{array.dtype.name}-gzip", x=(array, {"chunks": True, "compression": "gzip"}))
# As ann-benchmarks lays them.
write(
    "float32-train",
    train=(floats, {}),
    test=(floats[:2] + 1, {}),
    neighbors=(np.zeros((2, 3), "i4"), {}),
    distances=(np.zeros((2, 3), "f4"), {}),
)
write("float32-labels", x=(floats, {}), labels=(np.arange(ROWS), {}), names=(["a"] * ROWS, {}))
write("float32-group", **{"a/b/x": (floats, {})})

write("bad-several", x=(floats, {}), y=(floats, {}), names=(["a"] * ROWS, {}))
write("bad-text", names=(["a", "b"], {}))
write("bad-complex", x=(floats[:, :2].astype("c8"), {}))
write("bad-empty", x=(np.zeros((0, 5), "f4"), {}))
write("bad-flat", x=(floats[0], {}))
write("bad-large", x=(np.array([[1, (1 << 24) + 1]], "i8"), {}))
with h5py.File(folder / "bad-virtual.h5", "w", libver="latest") as file:
    layout = h5py.VirtualLayout((ROWS, COLS), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (ROWS, COLS))
    file.create_virtual_dataset("x", layout)
with h5py.File(folder / "bad-unwritten.h5", "w") as file:
    file.create_dataset("x", (1 << 40, 1 << 10), "f4", chunks=(1 << 10, 1 << 10))
