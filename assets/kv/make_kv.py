"""Makes q.npy, k.npy and v.npy, a small part of the project's test data (attention inputs of all-MiniLM-L6-v2), and
expected.json, what numpy makes of them through cache types that need no table, in f64.

    python make_kv.py FOLDER_OF_THE_WHOLE_TENSORS
"""

import json
import sys
from pathlib import Path

import numpy as np

here, source = Path(__file__).parent, Path(sys.argv[1])
# Layers 0, 2 and 5 are there; layer 5, 4 heads, 256 tokens.
for name in "qkv":
    np.save(here / f"{name}.npy", np.load(source / f"{name}.npy")[2, :4, :256])
q, k, v = (np.load(here / f"{name}.npy").astype(np.float64) for name in "qkv")


def half(x):
    return np.asarray(x, np.float32).astype(np.float16).astype(np.float64)


def grouped(x, axis, how):
    """Applies `how` to groups of 32 along the axis, which becomes the last one."""
    x = np.moveaxis(x, axis, -1)
    shape = x.shape
    return np.moveaxis(how(x.reshape(-1, 32)).reshape(shape), -1, axis)


def q8_0(x, _):
    def how(x):
        d = np.abs(x).max(1, keepdims=True) / 127
        return half(d) * np.round(x / np.where(d == 0, 1, d))

    return grouped(x, -1, how)


def q4_0(x, _):
    def how(x):
        d = np.take_along_axis(x, np.abs(x).argmax(1)[:, None], 1) / -8
        return half(d) * (np.clip(np.floor(x / np.where(d == 0, 1, d) + 8.5), 0, 15) - 8)

    return grouped(x, -1, how)


def kivi(bits):
    def codec(x, side):
        def how(x):
            least, top = half(x.min(1, keepdims=True)), 2**bits - 1
            scale = half((x.max(1, keepdims=True) - x.min(1, keepdims=True)) / top)
            codes = np.clip(np.round((x - least) / np.where(scale == 0, 1, scale)), 0, top)
            return codes * scale + least

        return grouped(x, -2 if side == "k" else -1, how)

    return codec


def centred(codec):
    def of(x, side):
        mean = x.mean(-2, keepdims=True) if side == "k" else 0.0
        return codec(x - mean, side) + mean

    return of


def attend(q, k, v, causal):
    logits = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    if causal:
        logits = np.where(np.tri(q.shape[-2], dtype=bool), logits, -np.inf)
    logits -= logits.max(-1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return logs, np.exp(logs) @ v


def relative(truth, found):
    return float(((found - truth) ** 2).sum() / (truth**2).sum())


expected = []
codecs = {"q8_0": q8_0, "q4_0": q4_0, "kivi4": kivi(4), "kivi2": kivi(2)}
for name, plain in codecs.items():
    for center in (False, True):
        codec = centred(plain) if center else plain
        keys, values = codec(k, "k"), codec(v, "v")
        for causal in (False, True):
            (p, o), (p_kept, o_kept) = attend(q, k, v, causal), attend(q, keys, values, causal)
            apart = np.where(np.isfinite(p), p_kept - np.where(np.isfinite(p), p, 0), 0)
            kl = (np.exp(p) * -apart).sum(-1).ravel()
            cosine = (o * o_kept).sum(-1) / np.linalg.norm(o, axis=-1) / np.linalg.norm(o_kept, axis=-1)
            expected.append({
                "type": name, "center": center, "causal": causal,
                "keys_error": relative(k, keys), "values_error": relative(v, values),
                "kl_mean": float(kl.mean()), "kl_max": float(kl.max()),
                "cosine": float(cosine.mean()), "output_error": relative(o, o_kept) ** 0.5,
            })
(here / "expected.json").write_text("[\n" + ",\n".join(map(json.dumps, expected)) + "\n]\n")
