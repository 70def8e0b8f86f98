"""Ctrl-C ends every call that can take long, soon, and leaves nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import ASSETS

# What each call is prepared by, the call, which is made again and again until it is interrupted, and what has to hold then; `folder`
# is one of its own.
CALLS = {
    "matmul": (
        'w = lowbit.quantize(floats(2048, 4096), "Q4_0"); x = floats(2048, 4096)',
        "lowbit.matmul(w, x)",
        "assert np.allclose(lowbit.matmul(w, x[:1], path='float'), x[:1] @ w.dequantize().T, atol=1e-2)",
    ),
    "first matmul": (
        'w = lowbit.quantize(floats(4096, 4096), "Q6_K"); x = floats(64, 4096)',
        "w.release(); lowbit.matmul(w, x, path='float')",
        "",
    ),
    "quantize": ("x = floats(2048, 4096)", 'lowbit.quantize(x, "Q4_K")', ""),
    "dequantize": ('w = lowbit.quantize(np.tile(floats(512, 4096), (16, 1)), "Q4_0")', "w.dequantize()", ""),
    "fit": (
        "x = floats(300_000, 64); kmeans = lowbit.KMeans(512, init='random', n_init=1, random_state=0)",
        "kmeans.fit(x)",
        "assert not hasattr(kmeans, 'cluster_centers_')",
    ),
    "predict": (
        "x = floats(500_000, 64); kmeans = lowbit.KMeans(1024, init=x[:1024], max_iter=1).fit(x[:4096])",
        "kmeans.predict(x)",
        "assert len(kmeans.predict(x[:10])) == 10",
    ),
    "transform": (
        "x = floats(100_000, 512); kmeans = lowbit.KMeans(256, init=x[:256], max_iter=1).fit(x[:4096])",
        "kmeans.transform(x)",
        "",
    ),
    "mini-batch fit": (
        "x = floats(300_000, 64); kmeans = lowbit.MiniBatchKMeans(256, batch_size=4096, max_no_improvement=None, random_state=0)",
        "kmeans.fit(x)",
        "assert not hasattr(kmeans, 'cluster_centers_')",
    ),
    "partial_fit": (
        "x = floats(300_000, 64); kmeans = lowbit.MiniBatchKMeans(1024, init=x[:1024])",
        "kmeans.partial_fit(x)",
        "assert not hasattr(kmeans, 'n_steps_') or kmeans._counts.sum() == kmeans.n_steps_ * 300_000",
    ),
    "batch_kmeans": ("x = floats(32, 8192, 64)", "lowbit.batch_kmeans(x, 128, max_iters=20)", ""),
    "choose_k": (
        "x = floats(100_000, 64)",
        "lowbit.choose_k(x, range(64, 256, 64), init='random', n_init=1)",
        "",
    ),
    "product_quantizer": ("x = floats(100_000, 128)", "lowbit.product_quantizer(x, 8)", ""),
    "encode": (
        "x = floats(200_000, 128); pq = lowbit.product_quantizer(x[:4096], 8, max_iter=1)",
        "pq.encode(x)",
        "",
    ),
    "decode": (
        "pq = lowbit.product_quantizer(floats(4096, 512), 8, max_iter=1); codes = np.zeros((400_000, 8), np.uint8)",
        "pq.decode(codes)",
        "",
    ),
    "faiss_like": ("x = floats(200_000, 64)", "lowbit.faiss_like.Kmeans(64, 256, niter=50).train(x)", ""),
    "evaluate": (
        "q, k, v = floats(8, 512, 64), floats(8, 2048, 64), floats(8, 2048, 64)",
        "lowbit.kv.evaluate(q, k, v)",
        "",
    ),
    "append": (
        "cache = lowbit.kv.Cache(2, 32, 8, 128, 'turbo3', tokens=4096); k = floats(2, 4096, 8, 128)",
        "of = cache.create(); cache.append(of, k, k); cache.free(of)",
        "assert all(cache.length(of) in (0, 4096) for of in cache.sequences())",
    ),
    "attend": (
        "cache = lowbit.kv.Cache(1, 8, 8, 128, 'q8_0', tokens=4096); k = floats(1, 4096, 8, 128)\n"
        "of = cache.create(); step = cache.step({of: 4096}); step.append(0, k[0], k[0])",
        "step.attend(0, k[0], every=True)",
        "assert cache.length(of) == 4096 and cache.attend(of, 0, k[0, -1]).shape == (8, 128)",
    ),
    "save": (
        "cache = lowbit.kv.Cache(8, 8, 8, 128, 'q8_0', tokens=16384); k = np.tile(floats(1, 16384, 8, 128), (8, 1, 1, 1))\n"
        "of = cache.create(); cache.append(of, k, k)",
        "cache.save(folder / 'state.safetensors')",
        "assert cache.length(of) == 16384\n"
        "assert [path.name for path in folder.iterdir()] in ([], ['state.safetensors'])\n"
        "assert all(cache.free(of) or cache.restore(path) for path in folder.iterdir())",
    ),
    "restore": (
        "cache = lowbit.kv.Cache(8, 8, 8, 128, 'q8_0', tokens=16384); k = np.tile(floats(1, 16384, 8, 128), (8, 1, 1, 1))\n"
        "of = cache.create(); cache.append(of, k, k); cache.save(folder / 'state.safetensors'); cache.free(of)",
        "[cache.free(of) for of in cache.restore(folder / 'state.safetensors')]",
        "[cache.free(of) for of in cache.sequences()]\n"
        "assert cache.memory().free_blocks == cache.memory().blocks\n"
        "assert cache.length(cache.restore(folder / 'state.safetensors')[0]) == 16384",
    ),
    "write_gguf": (
        "tensors = {f't{i}': floats(4096, 4096) for i in range(4)}",
        "lowbit.write_gguf(folder / 'model.gguf', tensors)",
        "names = [path.name for path in folder.iterdir()]; assert names in ([], ['model.gguf']), names\n"
        "assert not names or len(lowbit.GgufFile(folder / 'model.gguf')) == 4",
    ),
    "calibrate": ("x = np.tile(x, (400, 1, 1, 1)[: x.ndim])", "model.calibrate(x)", ""),
    "run": ("x = np.tile(x, (400, 1, 1, 1)[: x.ndim])", "model.run(x)", "assert len(model.run(x[:5])) == 5"),
    "audit": (
        "model.calibrate(x)",
        "model.audit(x, y, groups=np.arange(len(y)) // 5, replicates=300_000)",
        "model.audit(x, y)",
    ),
    "roofline": ("", "lowbit.roofline()", ""),
    "plan": ("", "lowbit.plan(layers='2x8x128', context=4096, bandwidth='measure')", ""),
}

CHILD = """
import sys, time
from pathlib import Path
import numpy as np
import lowbit

folder, assets, prepare, call, after = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]
random = np.random.default_rng(0)

def floats(*shape):
    return random.standard_normal(shape, dtype=np.float32)

model = lowbit.classify.Classifier(assets / "model.onnx")
x, y = np.load(assets / "test.npy"), np.load(assets / "labels.npy")
names = {**globals()}
exec(prepare, names)
call = compile(call, "call", "exec")
print("running", flush=True)
try:
    while True:
        exec(call, names)
except KeyboardInterrupt:
    print(time.time(), flush=True)
exec(after, names)
print("fine", flush=True)
"""


def interrupted(name: str, folder: Path, wait: float) -> float:
    """Seconds from SIGINT, `wait` seconds after a call has begun, to KeyboardInterrupt."""
    command = [sys.executable, "-c", CHILD, str(folder), str(ASSETS / "classifier" / "digits_8"), *CALLS[name]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            assert line == "running\n", (child.communicate(timeout=60), child.wait())
            time.sleep(wait)
            sent = time.time()
            child.send_signal(signal.SIGINT)
            printed, errors = child.communicate(timeout=120)
        finally:
            child.kill()
    lines = printed.splitlines()
    assert len(lines) == 2 and lines[1] == "fine", printed + errors
    return float(lines[0]) - sent


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent otherwise there")
@pytest.mark.parametrize("name", CALLS)
def test_interrupts_come_soon(name: str, tmp_path: Path) -> None:
    seconds = interrupted(name, tmp_path, 0.5)
    print(f"{name}: KeyboardInterrupt after {seconds:.3f} s")
    # 0.5 s on a machine that is not busy with something else.
    assert seconds < 2
