"""What several tests need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "assets"
# Larger inputs with independent answers, which are not part of the repository.
SHARED = Path(os.environ.get("LOWBIT_SHARED", ROOT.parent / "shared"))

Floats = npt.NDArray[np.float32]


def blobs(n: int, d: int, k: int, seed: int = 0, spread: float = 0.1) -> Floats:
    """`n` points in `k` round clusters of `d` dimensions, point i in cluster i % k."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(k, d))
    return np.asarray(centers[np.arange(n) % k] + spread * rng.normal(size=(n, d)), dtype=np.float32)


def python(code: str, *arguments: str, timeout: float = 120.0) -> str:
    """What a Python of its own prints when it runs `code`; it has to succeed."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def command_line() -> str:
    """The command line that was installed with the package, or the one that cargo built."""
    installed = shutil.which("lowbit", path=str(Path(sys.executable).parent))
    built = ROOT / "target" / "release" / "lowbit"
    assert installed or built.exists(), "there is no lowbit: make wheel"
    return installed or str(built)


def lowbit_cli(*arguments: Any) -> str:
    """What the command line prints; it has to succeed."""
    command = [command_line(), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"
    return done.stdout
