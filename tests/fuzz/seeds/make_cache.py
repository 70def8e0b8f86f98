"""Writes the seeds of the cache reader: python make_cache.py, in this folder."""

import json
import pathlib

HEAD = b"TRT-8510-EntropyCalibration2\n"
folder = pathlib.Path(__file__).parent / "cache"
folder.mkdir(exist_ok=True)

range_ = {"name": "x", "min": -1.0, "max": 2.5, "amax": 2.5, "threshold": 2.4, "scale": 0.0188976, "clipped": 0.001,
          "contents": "varied", "method": "percentile:99.99"}
manifest = {"lowbit": "0.1.0", "method": "entropy", "model": {"file": "model.onnx", "sha256": "0a" * 32},
            "data": {"sha256": "1b" * 32, "rows": 100000}, "ranges": [range_]}

seeds = {
    "example": HEAD + b"input_features: 3caa54fc\nhidden: 4000889d\n",
    "names": HEAD + "(Unnamed Layer* 1) [x]_output: 3caa54fc\na::b : c: 0\n größe: 3f800000\n".encode(),
    "crlf": (HEAD + b"x: 1\ny: 00000001\n\n").replace(b"\n", b"\r\n"),
    "header-only": HEAD,
    "no-end": HEAD + b"x: 3C00ABCD",
    "min-max": b"TRT-100300-MinMaxCalibration\nx: 3f000000\n",
    "no-header": b"x: 3caa54fc\n",
    "header-cut": b"TRT-8510\nx: 3caa54fc\n",
    "header-control": b"TRT-8510-Entropy\rCalibration2\nx: 3caa54fc\n",
    "no-colon": HEAD + b"x 3caa54fc\n",
    "no-name": HEAD + b": 3caa54fc\n",
    "name-control": HEAD + b"x\ry\x1b[31m: 3caa54fc\n",
    "no-bits": HEAD + b"x:\n",
    "sign": HEAD + b"x: +3caa54f\n",
    "long-bits": HEAD + b"x: 03caa54fc\n",
    "nan": HEAD + b"x: 7fc00000\n",
    "infinite": HEAD + b"x: 7f800000\n",
    "negative-zero": HEAD + b"x: 80000000\n",
    "twice": HEAD + b"x: 1\ny: 2\nx: 3\n",
    "not-utf8": HEAD + b"x\xff: 1\n",
    "empty": b"",
    "manifest": json.dumps(manifest, indent=2).encode(),
    "manifest-empty": json.dumps({**manifest, "ranges": []}).encode(),
    "manifest-no-rows": json.dumps({**manifest, "data": {"sha256": "1b" * 32}}).encode(),
    "manifest-hash": json.dumps({**manifest, "model": {"file": "m", "sha256": "0"}}).encode(),
    "manifest-method": json.dumps({**manifest, "method": "percentile:\n-1"}).encode(),
    "manifest-twice": json.dumps({**manifest, "ranges": [range_, range_]}).encode(),
    "manifest-huge": json.dumps({**manifest, "ranges": [{**range_, "scale": 1e300}]}).encode(),
    "manifest-deep": b"[" * 3000,
    "manifest-key": b'{"\x1b[31m\\u001b": 1}',
}
for name, data in seeds.items():
    (folder / name).write_bytes(data)
