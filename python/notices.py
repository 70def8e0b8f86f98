"""Writes the notices of every crate that is linked into a package: its name, version, licence, and the texts that it comes with.

``notices.py MANIFEST FILE``, where the manifest is that of a member of the workspace, which the command line is linked with as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

TEXTS = ("licence*", "license*", "copying*", "copyright*", "notice*", "unlicense*")


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def linked(manifest: Path) -> list[dict[str, Any]]:
    """The packages that are linked on this machine, by name and version; not those that only build others."""
    host = next(line.split()[1] for line in run("rustc", "-vV").splitlines() if line.startswith("host:"))
    options = ("--locked", "--format-version", "1", "--filter-platform", host)
    found = json.loads(run("cargo", "metadata", *options, "--manifest-path", str(manifest)))
    packages = {package["id"]: package for package in found["packages"]}
    nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
    left = [id for id, package in packages.items() if Path(package["manifest_path"]).resolve() == manifest.resolve()]
    seen = set(left)
    while left:
        for dep in nodes[left.pop()]["deps"]:
            is_linked = any(kind["kind"] is None for kind in dep["dep_kinds"])
            runs_at_build = any("proc-macro" in target["kind"] for target in packages[dep["pkg"]]["targets"])
            if is_linked and not runs_at_build and dep["pkg"] not in seen:
                seen.add(dep["pkg"])
                left.append(dep["pkg"])
    others = (packages[id] for id in seen.difference(found["workspace_members"]))
    return sorted(others, key=lambda package: (package["name"], package["version"]))


def notice(package: dict[str, Any]) -> str:
    folder = Path(package["manifest_path"]).parent
    # Sources in another language have a folder, and a licence, of their own.
    files = [*folder.glob("*"), *folder.glob("*/*")]
    paths = sorted(path for path in files if path.is_file() and any(path.match(of) for of in patterns()))
    lines = ["-" * 80, "", f"{package['name']} {package['version']}"]
    for what, of in (
        ("Licence", package["license"] or package["license_file"]),
        ("Authors", ", ".join(package["authors"])),
        ("Source", package["repository"]),
    ):
        if of:
            lines.append(f"{what}: {of}")
    for path in paths:
        lines += ["", f"{path.relative_to(folder)}:", "", path.read_text(encoding="utf-8", errors="replace").strip()]
    return "\n".join([*lines, "", ""])


def patterns() -> list[str]:
    return [*TEXTS, *(text.upper() for text in TEXTS), *(text.capitalize() for text in TEXTS)]


def main() -> None:
    manifest, out = map(Path, sys.argv[1:])
    packages = linked(manifest)
    head = "What is compiled into this package, by whom, and under which licences.\n\n"
    out.write_text(head + "".join(map(notice, packages)), encoding="utf-8")
    print(f"{out}: the notices of {len(packages)} crates")


main()
