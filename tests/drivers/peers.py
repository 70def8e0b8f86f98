"""Times llama.cpp's Vulkan backend and lowbit by turns on the same driver, and prints the ratios.

    peers.py LLAMA LOWBIT [ROUNDS]

LLAMA is the folder of llama.cpp's shared objects (npm has them prebuilt), LOWBIT the binary. The host's speed changes by the hour,
so only ratios count: each round runs both, and the least time of all rounds is taken. Needs numpy. `make peers` sets all up.
"""

import ctypes
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np

TYPES = {"F16": 1, "Q4_0": 2, "Q8_0": 8, "Q4_K": 12, "TQ2_0": 35}
PRODUCT = (4096, 14336, 1)  # rows, columns of the weights; columns of x
ATTENTION = (8192, 8, 4, 128)  # tokens, kv heads, query heads of each, head dimension
REPEATS = 5


class Init(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


class Llama:
    """ggml's C interface, as much of it as a graph of one kind of node needs."""

    def __init__(self, folder):
        load = lambda name: ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)
        self.base, vulkan = load("libggml-base.so"), load("libggml-vulkan.so")
        vulkan.ggml_backend_vk_init.restype = ctypes.c_void_p
        self.backend = ctypes.c_void_p(vulkan.ggml_backend_vk_init(ctypes.c_size_t(0)))
        if not self.backend:
            sys.exit("llama.cpp finds no Vulkan device")
        self.random = np.random.default_rng(1)

    def call(self, name, *arguments, returns=ctypes.c_void_p):
        function = getattr(self.base, name)
        function.restype = returns
        result = function(*arguments)
        return ctypes.c_void_p(result) if returns is ctypes.c_void_p else result

    def tensor(self, context, kind, *sizes):
        sizes = [ctypes.c_int64(size) for size in sizes]
        return self.call(f"ggml_new_tensor_{len(sizes)}d", context, ctypes.c_int(kind), *sizes)

    def fill(self, tensor, kind, columns, rows):
        values = self.random.uniform(-1, 1, columns * rows).astype(np.float32)
        size = self.call("ggml_nbytes", tensor, returns=ctypes.c_size_t)
        if kind > 1:
            raw = ctypes.create_string_buffer(size)
            data = ctypes.c_void_p(values.ctypes.data)
            self.call(
                "ggml_quantize_chunk", ctypes.c_int(kind), data, raw, ctypes.c_int64(0), ctypes.c_int64(rows),
                ctypes.c_int64(columns), None, returns=ctypes.c_size_t,
            )
            raw = raw.raw
        else:
            raw = values.astype([np.float32, np.float16][kind]).tobytes()
        self.call("ggml_backend_tensor_set", tensor, raw, ctypes.c_size_t(0), ctypes.c_size_t(size), returns=None)

    def least_ms(self, build, copies=2):
        """The least time of a node, of `copies` equal ones over tensors of their own."""
        context = self.call("ggml_init", Init(64 << 20, None, True))
        graph = self.call("ggml_new_graph", context)
        fills = []
        for _ in range(copies):
            node, own = build(context)
            self.call("ggml_build_forward_expand", graph, node, returns=None)
            fills += own
        buffer = self.call("ggml_backend_alloc_ctx_tensors", context, self.backend)
        for one in fills:
            self.fill(*one)
        times = []
        for _ in range(REPEATS + 1):
            begun = time.perf_counter()
            self.call("ggml_backend_graph_compute", self.backend, graph, returns=ctypes.c_int)
            times.append((time.perf_counter() - begun) * 1e3 / copies)
        self.call("ggml_backend_buffer_free", buffer, returns=None)
        self.call("ggml_free", context, returns=None)
        return min(times[1:])

    def product(self, name):
        rows, columns, n = PRODUCT

        def build(context):
            weights, x = self.tensor(context, TYPES[name], columns, rows), self.tensor(context, 0, columns, n)
            fills = [(weights, TYPES[name], columns, rows), (x, 0, columns, n)]
            return self.call("ggml_mul_mat", context, weights, x), fills

        return self.least_ms(build)

    def attention(self, name):
        tokens, kv, each, dim = ATTENTION
        kind = TYPES[name]

        def build(context):
            q = self.tensor(context, 0, dim, 1, kv * each, 1)
            k, v = (self.tensor(context, kind, dim, tokens, kv, 1) for _ in range(2))
            scale = ctypes.c_float(dim**-0.5)
            zero = ctypes.c_float(0)
            node = self.call("ggml_flash_attn_ext", context, q, k, v, None, scale, zero, zero)
            return node, [(q, 0, dim, kv * each), (k, kind, dim, tokens * kv), (v, kind, dim, tokens * kv)]

        return self.least_ms(build)


def lowbit(binary, *arguments):
    ran = subprocess.run([binary, "-q", "bench", *arguments, "--json"], check=True, capture_output=True)
    return [kernel["low_us"] / 1e3 for kernel in json.loads(ran.stdout)["kernels"]]


def main():
    llama, binary = Llama(pathlib.Path(sys.argv[1])), sys.argv[2]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    shape = ",".join(map(str, PRODUCT))
    tokens, kv, each, dim = map(str, ATTENTION)
    attend = ["kv", "--context", tokens, "--kv-heads", kv, "--groups", each, "--head-dim", dim]
    works = [(f"[{shape}] {name}", llama.product, name, ["matmul", "--shape", shape, "--format", name])
             for name in TYPES]
    works += [(f"attention {tokens} {name}", llama.attention, name, [*attend, "--types", name.lower()])
              for name in ("F16", "Q8_0", "Q4_0")]
    print(f"{'work':28}{'llama.cpp ms':>14}{'lowbit ms':>12}{'times':>8}")
    for what, peer, name, arguments in works:
        theirs, ours = [], []
        for _ in range(rounds):
            theirs.append(peer(name))
            ours += lowbit(binary, *arguments)
        print(f"{what:28}{min(theirs):14.1f}{min(ours):12.1f}{min(theirs) / min(ours):8.1f}", flush=True)


if __name__ == "__main__":
    # Devices that are processors count only if they are named.
    os.environ.setdefault("GGML_VK_VISIBLE_DEVICES", "0")
    main()
