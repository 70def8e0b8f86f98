"""Roofs and plans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lowbit
import numpy as np
import pytest
from helpers import ASSETS, lowbit_cli
from records import equal

LLAMA = ASSETS / "plan" / "llama-3.1-8b.json"


def test_roofs_are_rates() -> None:
    said: list[str] = []
    roofs = lowbit.roofline("quick", sweep=False, progress=said.append)
    assert said and roofs.sweep == []
    assert roofs.adapter in lowbit.devices()
    for roof in (roofs.copy, roofs.read, roofs.write, roofs.fma_f32):
        assert roof.low <= roof.value <= roof.high and roof.value > 0
    assert roofs.copy.unit == "GB/s" and roofs.fma_f32.unit == "GFLOP/s"
    assert roofs.launch.round_trip_us > 0 and roofs.launch.points[0].bytes > 0


def test_a_progress_that_raises_ends_the_work() -> None:
    def stop(_: str) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        lowbit.roofline(progress=stop)


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({}, []),
        (
            {"kv": ["f16", "q8_0:turbo3"], "vram": 24, "bandwidth": 900.5, "weights": "Q4_K", "parameters": 8030261248},
            ["--kv", "f16,q8_0:turbo3", "--vram", "24", "--bandwidth", "900.5", "--weights", "Q4_K", "--parameters", "8030261248"],
        ),
        ({"layers": ["10x16x128", "2x512+64"], "residual": 68}, ["--layers", "10x16x128,2x512+64", "--residual", "68"]),
        ({"against": ASSETS / "plan" / "gemma-3-27b.json"}, ["--against", str(ASSETS / "plan" / "gemma-3-27b.json")]),
    ],
)
def test_plans_of_caches_are_the_command_lines(options: dict[str, Any], flags: list[str]) -> None:
    found = lowbit.plan(LLAMA, 4096, **options)
    said = json.loads(lowbit_cli("plan", LLAMA, "--context", "4096", "--json", "-q", *flags))
    equal(found, said)
    assert found.adapter is None and found.formats is None and found.cache is not None
    assert found.cache.context == 4096


def test_a_plan_of_a_file_measures_its_formats(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    lowbit.write_gguf(path, {"blk.0.ffn_up.weight": np.ones((256, 256), dtype=np.float32)}, {"general.architecture": "llama"})
    found = lowbit.plan(path, weights=["Q8_0", "Q4_K"], effort="quick")
    assert found.formats is not None and [of.format for of in found.formats] == ["Q8_0", "Q4_K"]
    assert found.formats[0].bits_per_weight == 8.5 and found.formats[0].products[0].trial.us > 0
    assert found.recommended in ("Q8_0", "Q4_K") and found.model is not None and found.model.weights == 65536
    assert found.adapter in lowbit.devices()


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        ((), {}, "context"),
        ((None, 100), {}, "model, or layers"),
        ((LLAMA,), {"kv": "q8_0"}, "context"),
        ((LLAMA, 100), {"kv": "q9"}, "no cache type"),
        ((LLAMA, 100), {"layers": "8"}, "8"),
        ((LLAMA, 100), {"weights": "Q4_K"}, "parameters"),
        ((LLAMA, 100), {"weights": ["Q4_K", "Q8_0"]}, "one format"),
        ((LLAMA, 100), {"weights": "Q4_K_M", "parameters": 5}, "mixture"),
        ((LLAMA, 100), {"vram": -1}, "vram"),
        ((LLAMA, 100), {"bandwidth": "fast"}, "measure"),
        ((LLAMA, 0), {}, "context"),
        ((LLAMA, 1.5), {}, "context"),
    ],
)
def test_refusals(arguments: tuple[Any, ...], options: dict[str, Any], text: str) -> None:
    with pytest.raises(lowbit.InputError, match=text):
        lowbit.plan(*arguments, **options)


def test_other_refusals(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        lowbit.plan(tmp_path / "none.gguf")
    with pytest.raises(lowbit.InputError, match="effort"):
        lowbit.roofline("much")
    with pytest.raises(lowbit.InputError, match="peak_gbs"):
        lowbit.roofline(peak_gbs=0)
    with pytest.raises(lowbit.InputError, match="no such"):
        lowbit.roofline(adapter="no such adapter")
