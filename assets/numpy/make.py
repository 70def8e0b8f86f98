"""Writes archives and arrays as numpy does: python make.py, in this folder."""

import pathlib

import numpy as np

folder = pathlib.Path(__file__).parent
points = (np.arange(12).reshape(4, 3) * 0.5 - 2).astype(np.float64)
labels = np.array(["malignant", "benign", "benign", "malignant"])
np.savez(folder / "stored.npz", points=np.asfortranarray(points), labels=labels)
np.savez_compressed(folder / "deflated.npz", points=points.astype(">i2"), labels=labels)
np.savez(folder / "one.npz", points.astype(np.float32))
np.save(folder / "structured.npy", np.zeros(2, dtype=[("x", "<f4"), ("name", "<U3")]))
np.save(folder / "object.npy", np.array([1, "a"], dtype=object))
np.save(folder / "bytes.npy", np.array([b"no", b"yes", b"yes"]))
