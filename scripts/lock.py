"""Write the lock files from what is installed: ``make lock``, after changing dependencies in pyproject.toml.

``requirements.lock`` has what Kleene needs to run, ``requirements-dev.lock`` also what its tests and its
build need. Each line is a version and, as a comment, who asked for it.
"""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
# Hatchling needs it for an editable installation, and says so only when asked to make one.
EDITABLE_BUILD = ["editables"]

Wanted = dict[str, set[str]]


def visit(requirement: Requirement, asker: str, found: Wanted) -> None:
    """Note ``requirement`` and all that it needs in this environment."""
    name = canonicalize_name(requirement.name)
    known = name in found
    found.setdefault(name, set()).add(asker)
    if known and not requirement.extras:
        return
    for text in metadata.requires(name) or []:
        needed = Requirement(text)
        extras = requirement.extras or {""}
        if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
            visit(needed, name, found)


def write(path: Path, texts: list[str], asker: str) -> None:
    """Lock the closure of the requirements in ``texts``."""
    found: Wanted = {}
    for text in texts:
        visit(Requirement(text), asker, found)
    markers = {
        str(canonicalize_name(r.name)): r.marker for r in map(Requirement, texts) if r.marker
    }
    lines = ["# Written by `make lock`: change pyproject.toml, not this file."]
    for name in sorted(found):
        where = f" ; {markers[name]}" if name in markers else ""
        askers = ", ".join(sorted(found[name]))
        lines.append(f"{name}=={metadata.version(name)}{where}  # via {askers}")
    path.write_text("\n".join(lines) + "\n")


def main() -> int:
    """Write both files."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = project["project"]["dependencies"]
    extra = project["project"]["optional-dependencies"]["dev"]
    build = project["build-system"]["requires"] + EDITABLE_BUILD
    write(ROOT / "requirements.lock", runtime, "kleene")
    write(ROOT / "requirements-dev.lock", runtime + extra + build, "kleene")
    return 0


if __name__ == "__main__":
    sys.exit(main())
