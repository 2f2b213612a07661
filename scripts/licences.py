"""List the licences of all installed dependencies, check them, and write an SBOM: ``make licences``.

Writes ``sbom.json`` (CycloneDX, the packages of requirements/run.txt) and ``licences.md`` (all packages). Exit code 1
if a package has a licence that is not allowed, or none. What a package says of itself is believed; the texts of
licences are not compared.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
# Permissive licences, and those that bind only changes of the package itself: it is used unchanged.
ALLOWED: Final = frozenset({
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "EPL-2.0", "ISC",
    "LGPL-2.1-only", "LGPL-3.0-only", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0", "Zlib",
})  # fmt: skip
# Also for tools of developers, which are not delivered.
ALLOWED_TOOLS: Final = ALLOWED | {"GPL-3.0"}
_CLASSIFIERS: Final = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL-3.0-only",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
# Packages whose metadata names no licence that a program understands; read from their licence files.
_READ: Final = {
    "antlr4-python3-runtime": "BSD-3-Clause",
    "axe-playwright-python": "MIT",
    "dask-jobqueue": "BSD-3-Clause",
    "kubernetes-validate": "Apache-2.0",
    "partd": "BSD-3-Clause",
    "protobuf": "BSD-3-Clause",
}

Component = Mapping[str, Any]


def canonical(name: str) -> str:
    """Return the name of a package in its normal form."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(requirements: Path) -> set[str]:
    """Return the names of the packages in a file of pins."""
    return {canonical(name) for name in re.findall(r"^([\w.-]+)(?:\[.*?\])?==", requirements.read_text("utf-8"), re.M)}


def licences_of(component: Component) -> list[str]:
    """Return the SPDX expressions of a component; all of them hold."""
    found = []
    for item in component.get("licenses", []):
        inner = item.get("license", {})
        text = item.get("expression") or inner.get("id") or inner.get("name", "").rpartition(" :: ")[2]
        found.append(_CLASSIFIERS.get(text, text))
    return sorted(set(found)) or [_READ.get(canonical(component["name"]), "")]


def is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Return whether one alternative of an expression (``A AND B OR C``, no parentheses) has only allowed licences."""
    return any(all(part in allowed for part in choice.split(" AND ")) for choice in expression.split(" OR "))


def find_problems(components: Sequence[Component], run: set[str]) -> list[str]:
    """Return a line for each component whose licence is missing or not allowed. ``run``: names of what is delivered."""
    return [
        f"{component['name']} {component['version']}: {licence or 'no licence'} is not allowed"
        for component in components
        for licence in licences_of(component)
        if not is_allowed(licence, ALLOWED if canonical(component["name"]) in run else ALLOWED_TOOLS)
    ]


def delivered(sbom: Mapping[str, Any], run: set[str]) -> dict[str, Any]:
    """Return the SBOM with the packages of ``run`` only."""
    kept = [item for item in sbom["components"] if canonical(item["name"]) in run]
    references = {item["bom-ref"] for item in kept} | {sbom["metadata"]["component"]["bom-ref"]}
    edges = [
        item | {"dependsOn": [name for name in item.get("dependsOn", []) if name in references]}
        for item in sbom["dependencies"]
        if item["ref"] in references
    ]
    return {**sbom, "components": kept, "dependencies": edges}


def _inventory() -> dict[str, Any]:
    # Without validation, which takes ten times as long; a test does it.
    command = ["environment", "--output-reproducible", "--no-validate", "--mc-type", "application"]
    made = subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", *command, "--pyproject", str(ROOT / "pyproject.toml"), sys.executable],
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(made.stdout)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Write both files; exit with the problems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "licences")
    output: Path = parser.parse_args(arguments).output
    sbom, run = _inventory(), pinned(ROOT / "requirements" / "run.txt")
    output.mkdir(parents=True, exist_ok=True)
    (output / "sbom.json").write_text(json.dumps(delivered(sbom, run), indent=1, sort_keys=True) + "\n", "utf-8")
    rows = [
        f"| {item['name']} | {item['version']} | {', '.join(licences_of(item))} | "
        f"{'run' if canonical(item['name']) in run else 'development'} |\n"
        for item in sorted(sbom["components"], key=lambda item: canonical(item["name"]))
    ]
    head = "# Licences of the dependencies\n\n| package | version | licence | for |\n|---|---|---|---|\n"
    (output / "licences.md").write_text(head + "".join(rows), "utf-8")
    if problems := find_problems(sbom["components"], run):
        sys.exit("\n".join([*problems, "Remove the package, or allow its licence in scripts/licences.py."]))
    print(f"{len(rows)} packages with allowed licences; see {output}")


if __name__ == "__main__":
    main()
