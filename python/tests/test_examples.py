"""The examples run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from helpers import ASSETS, ROOT, python


def example(folder: Path, name: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "python" / "examples" / name), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_read_me() -> None:
    blocks = (ROOT / "python" / "README.md").read_text().split("```python\n")[1:]
    assert len(blocks) == 1
    inertia, iterations = map(float, python(blocks[0].split("```")[0]).split()[:2])
    assert inertia > 0 and iterations > 1


def test_cluster(tmp_path: Path) -> None:
    printed = example(tmp_path, "cluster.py")
    # What it makes up has 12 clusters of some 417 points each.
    words = printed.split()
    assert words[:3] == ["12", "clusters", "of"] and int(words[3]) > 300 and int(words[5]) < 550, printed
    assert (tmp_path / "clusters.png").read_bytes()[:4] == b"\x89PNG"


def test_cluster_of_a_file(tmp_path: Path) -> None:
    points, picture = ASSETS / "kmeans" / "points.npy", tmp_path / "drawn.png"
    printed = example(tmp_path, "cluster.py", str(points), str(picture))
    assert str(picture) in printed and picture.stat().st_size > 10_000
    assert int(printed.split()[3]) <= len(np.load(points)) // 12


def test_quantize(tmp_path: Path) -> None:
    rows = [line.split() for line in example(tmp_path, "quantize.py").splitlines()[1:]]
    assert [row[0] for row in rows] == ["Q8_0", "Q6_K", "Q4_K", "Q2_K"]
    bits, of_weights, of_product = (np.array([float(row[i]) for row in rows]) for i in (1, 2, 3))
    # Fewer bits, more error; and of random rows the product errs as much as the weights do, and by int8 in place of them as well.
    assert (np.diff(bits) < 0).all() and (np.diff(of_weights) > 0).all()
    assert (of_product > 0.9 * of_weights).all() and (of_product < 1.1 * np.hypot(of_weights, 0.0055)).all()
    assert of_weights[0] < 0.01 and of_weights[-1] < 0.5


def test_notebook(tmp_path: Path) -> None:
    notebook = json.loads((ROOT / "python" / "examples" / "report.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) == 4 and not any(cell.get("outputs") for cell in notebook["cells"])
    # Without Jupyter: what a cell shows is what its last line gives, or what IPython is asked to display.
    paths = [str(Path(sys.executable).parent), str(ROOT / "target" / "release")]
    shown = f"import os; os.environ['PATH'] = os.pathsep.join([*{paths}, os.environ['PATH']])\n"
    shown += "import sys, types; m = types.ModuleType('IPython.display'); m.SVG = lambda filename: open(filename).read(); "
    shown += "m.display = lambda x: print(x[:200]); sys.modules['IPython.display'] = m\n"
    script = shown + "import matplotlib; matplotlib.use('Agg')\n" + "\n".join(cells[:3]).replace("../../assets", str(ASSETS))
    script += "\nprint(audit._repr_html_()[:1000])\n" + cells[3] + "\nprint(len(figure.axes))\n"
    path = tmp_path / "notebook.py"
    path.write_text(script)
    printed = example(tmp_path, str(path))
    assert "<svg" in printed and "<" in printed.split("<svg", 1)[1] and printed.strip().endswith("2"), printed
    assert (tmp_path / "roofs.svg").stat().st_size > 1000


def test_audit(tmp_path: Path) -> None:
    printed = example(tmp_path, "audit.py")
    assert printed.startswith(("PASS: ", "FAIL: "))
    words = printed.splitlines()[-1].split()
    # The model's AUC on its test half, as the assets' maker has it, and INT8 next to it.
    assert words[0] == "AUC" and float(words[1]) > 0.98 and abs(float(words[1]) - float(words[4])) < 0.01
