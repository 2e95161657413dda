"""The lock files: complete, exact, and the same for everybody."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LINE = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9][0-9a-z.+!]*)"
    r"(?: ; platform_machine == \"[a-z0-9_]+\")?  # via .+"
)


def locked(name: str) -> dict[str, str]:
    """Versions by name. Every line must be an exact version: no address, no path."""
    versions = {}
    for line in (ROOT / name).read_text().splitlines():
        if not line.startswith("#"):
            match = LINE.fullmatch(line)
            assert match, line
            versions[match["name"]] = match["version"]
    return versions


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_what_the_project_asks_for_is_locked_at_a_version_that_it_accepts(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    if "dev" in name:
        wanted += project["optional-dependencies"]["dev"]
    versions = locked(name)
    for text in wanted:
        requirement = Requirement(text)
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), text


def test_development_has_the_versions_that_users_get() -> None:
    assert locked("requirements.lock").items() <= locked("requirements-dev.lock").items()
