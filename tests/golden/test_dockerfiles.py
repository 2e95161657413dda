"""Dockerfiles, and the plan or the error that comes of each.

``dockerfiles/CASE`` holds a ``Dockerfile``, ``plan.json`` or ``error.txt``, and, where the defaults do not
do, ``given.json``: ``build_args``, ``base``, ``override``, ``target``, ``user``, ``env``, ``named`` (an
image's name, or null). ``KLEENE_UPDATE_GOLDEN=1`` writes what is expected anew.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kleene.build.config import ImageConfig
from kleene.build.mounts import RunMount
from kleene.build.plan import Plan, plan, stages_of
from kleene.build.stages import SCRATCH, Origin
from kleene.build.steps import InlineFile, Step, Url, step_key
from kleene.dockerfile.document import Stage, read_dockerfile
from kleene.dockerfile.source import Range, Source
from kleene.errors import KleeneError
from kleene.host.giturl import GitUrl
from kleene.names import ImageReference
from kleene.schemas.images import ImageSettings

CASES = sorted(path.parent for path in Path(__file__).parent.glob("dockerfiles/*/Dockerfile"))
UPDATE = os.environ.get("KLEENE_UPDATE_GOLDEN") == "1"

DEFAULT_BASE = ImageConfig(cmd=("/bin/sh",), env=("PATH=/usr/bin:/bin",))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_dockerfile(case: Path) -> None:
    given_path = case / "given.json"
    given = json.loads(given_path.read_text("utf-8")) if given_path.exists() else {}
    name, result = _outcome((case / "Dockerfile").read_bytes(), given)
    if UPDATE:
        for old in ("plan.json", "error.txt"):
            (case / old).unlink(missing_ok=True)
        (case / name).write_text(result, "utf-8")
    assert result == (case / name).read_text("utf-8")


def test_there_is_one_expectation_per_case() -> None:
    assert len(CASES) >= 40
    for case in CASES:
        assert (case / "plan.json").exists() != (case / "error.txt").exists(), case.name


def _outcome(data: bytes, given: dict[str, Any]) -> tuple[str, str]:
    try:
        return "plan.json", _plan(data, given)
    except KleeneError as error:
        return "error.txt", f"{error.message}\n{error.details}\nhint: {error.hint}\n"


def _plan(data: bytes, given: dict[str, Any]) -> str:
    dockerfile = read_dockerfile(Source.from_bytes("Dockerfile", data))
    build_args = given.get("build_args", {})
    override = given.get("override", "")
    base = DEFAULT_BASE
    if "base" in given:
        base = _base(dict(given["base"]))
    target = given.get("target", "")
    named = {
        name: None if image is None else ImageReference(image)
        for name, image in given.get("named", {}).items()
    }
    nodes = stages_of(dockerfile, build_args, override, target=target, named=named)
    bases = {node.base: base for node in nodes if isinstance(node.base, ImageReference)}
    triggers = dict.fromkeys(bases, base.settings.onbuild)
    nodes = stages_of(
        dockerfile, build_args, override, target=target, triggers=triggers, named=named
    )
    bases |= {node.base: base for node in nodes if isinstance(node.base, ImageReference)}
    found = plan(
        dockerfile,
        nodes,
        bases | {SCRATCH: DEFAULT_BASE},
        build_args,
        override=override,
        user=given.get("user", ""),
        env=given.get("env", []),
    )
    warnings = [*map(str, dockerfile.warnings), *found.warnings]
    return json.dumps(_plain(found) | {"warnings": warnings}, indent=1, ensure_ascii=False) + "\n"


def _base(given: dict[str, Any]) -> ImageConfig:
    settings = msgspec.convert(given.pop("settings", {}), ImageSettings)
    return ImageConfig(**{name: _frozen(value) for name, value in given.items()}, settings=settings)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(found: Plan) -> dict[str, Any]:
    config = {field.name: getattr(found.config, field.name) for field in fields(found.config)}
    settings = config.pop("settings")
    config |= {
        k: v for k, v in msgspec.to_builtins(settings).items() if v not in ([], {}, "", None)
    }
    return {
        "stages": [
            {
                "base": _origin(stage.node.base),
                "steps": [_plain_step(step) for step in stage.steps],
            }
            for stage in found.stages
        ],
        "config": config,
    }


def _origin(origin: Origin) -> int | str:
    return origin.index if isinstance(origin, Stage) else str(origin)


def _plain_step(step: Step) -> dict[str, Any]:
    said = {
        name: _value(value)
        for name, value in _fields(step)
        if name not in _UNSAID or value != _UNSAID[name]
    }
    changes = step_key("", step) != ""
    return {"step": type(step).__name__, **said, "changes files": changes}


_UNSAID = {
    "mounts": (),
    "network": "default",
    "insecure": False,
    "exclude": (),
    "parents": False,
    "keep_git_dir": None,
    "unpack": None,
    "pivots": (),
    "repositories": (),
    "context": "",
}
"""Values of flags that are not shown: those without the flag."""


def _fields(record: Any) -> list[tuple[str, Any]]:
    told = (field for field in fields(record) if field.name != "places")
    return [(field.name, getattr(record, field.name)) for field in told]


def _value(value: Any) -> Any:
    if isinstance(value, Range):
        start, end = value.start, value.end
        return f"{start.line}:{start.column}-{end.line}:{end.column}"
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_value(item) for item in value]
    if isinstance(value, RunMount):
        return {name: _value(found) for name, found in _fields(value)}
    if isinstance(value, InlineFile | Url | GitUrl):
        return asdict(value)
    return value
