"""Dockerfiles that Kleene and buildah build to the same: each file of the tree, and the configuration.

``tests/compare/CASE`` holds a ``Dockerfile``; ``case.yaml`` describes the files of its context, arguments for
both (``args``), and what may differ (``differs``: what, and why). What Debian's buildah is too old for,
``Dockerfile.buildah`` says to it in other words.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.buildah import Buildah, Built
from tests.support.daemon import Daemon
from tests.support.files import make_context
from tests.support.pictures import Picture, differences, docker_config, kleene_config, tree

pytestmark = pytest.mark.slow

CASES = sorted(path.parent for path in (Path(__file__).parents[1] / "compare").glob("*/Dockerfile"))

BASE = """FROM scratch
ADD tiny.tar /
ENV PATH=/bin:/usr/bin
CMD ["/bin/sh"]
"""


@dataclass(frozen=True)
class Case:
    """What ``case.yaml`` says. ``differs``: names (or beginnings) of what may differ, with the reason."""

    files: Mapping[str, Any] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    dockerfile: str = "Dockerfile"
    differs: Mapping[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def buildah(
    host: None, tiny_archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Buildah]:
    """A buildah that has the image ``tiny``."""
    home = tmp_path_factory.mktemp("buildah")
    found = Buildah(home)
    found.build(*_base(tiny_archive, home / "base"), tag="tiny")
    yield found
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def same_base(daemon: Daemon, tiny_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The image ``tiny`` of the daemon, made as buildah's was."""
    context, _ = _base(tiny_archive, tmp_path_factory.mktemp("base") / "base")
    daemon.klee("build", "-t", "tiny", context)


def _base(archive: Path, directory: Path) -> tuple[Path, Path]:
    directory.mkdir()
    shutil.copy(archive, directory / "tiny.tar")
    (directory / "Dockerfile").write_text(BASE)
    return directory, directory / "Dockerfile"


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("directory", CASES, ids=lambda path: path.name)
def test_the_same_image(
    directory: Path, daemon: Daemon, buildah: Buildah, same_base: None, tmp_path: Path
) -> None:
    case = _read(directory)
    context = tmp_path / "context"
    context.mkdir()
    make_context(context, {case.dockerfile: (directory / "Dockerfile").read_bytes(), **case.files})
    with ThreadPoolExecutor() as pool:
        theirs = pool.submit(_theirs, buildah, case, directory, context)
        ours = _ours(daemon, case, context)
    found = differences(ours, theirs.result())
    unexplained = {
        name: said for name, said in found.items() if not any(map(name.startswith, case.differs))
    }
    assert unexplained == {}, "ours, theirs"
    idle = [name for name in case.differs if not any(key.startswith(name) for key in found)]
    assert not idle, "nothing differs there any more"


def _read(directory: Path) -> Case:
    path = directory / "case.yaml"
    said = yaml.safe_load(path.read_text()) if path.exists() else {}
    return Case(**(said | {"args": tuple(said.get("args", ()))}))


def _ours(daemon: Daemon, case: Case, context: Path) -> Picture:
    options = [*case.args, "--no-cache", "-f", case.dockerfile]
    built = daemon.klee("build", *options, context)
    image_id = built.stdout.split()[-1]
    image = json.loads(daemon.klee("image", "inspect", image_id).stdout)
    (root,) = daemon.pool().glob(f"snapshots/image/*/{image['snapshot']}")
    return tree(root) | kleene_config(image)


def _theirs(buildah: Buildah, case: Case, directory: Path, context: Path) -> Picture:
    other = directory / "Dockerfile.buildah"
    dockerfile = other if other.exists() else context / case.dockerfile
    try:
        built: Built = buildah.build(context, dockerfile, *case.args)
    except subprocess.CalledProcessError as error:
        raise AssertionError(f"buildah: {error.stdout}{error.stderr}") from error
    return tree(built.root) | docker_config(built.config)
