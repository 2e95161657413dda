"""From errors to statuses and close codes; from msgspec's words to those of people."""

from __future__ import annotations

import logging

import msgspec
import pytest

from kleene.build.events import BuildFailed
from kleene.daemon.inputs import decode
from kleene.daemon.problems import InvalidFirstFrame, problem_of
from kleene.errors import (
    CommandFailed,
    Conflict,
    HostUnavailable,
    InvalidInput,
    KleeneError,
    NotFound,
)
from kleene.schemas.common import ErrorResponse
from kleene.schemas.execs import ExecStartConfig
from kleene.schemas.images import ImageBuildConfig


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidFirstFrame("x"), 400, 1002),
        (InvalidInput("x"), 400, 1011),
        (NotFound("x"), 404, 1011),
        (Conflict("x"), 409, 1011),
        (HostUnavailable("x"), 500, 1011),
        (CommandFailed(["x"], 1, ""), 500, 1011),
        (BuildFailed("x"), 500, 1011),
        (KleeneError("x"), 500, 1011),
        (RuntimeError("x"), 500, 1011),
    ],
)
def test_status_and_close_code(error: Exception, status: int, code: int) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.close_code) == (status, code)


def test_what_was_stated_is_told_whole() -> None:
    told = problem_of(Conflict("fact", hint="remedy", details="lines")).answer
    assert told == ErrorResponse("fact", "remedy", "lines")
    odd = problem_of(Conflict("a\udcff", hint="b\udcfe", details="é\udc80")).answer
    assert odd == ErrorResponse(r"a\xff", r"b\xfe", r"é\x80")


def test_bug_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        told = problem_of(KeyError("secret")).answer
    assert told.error_id is not None
    assert told.error_id in caplog.text
    assert "secret" in caplog.text
    assert "secret" not in msgspec.json.encode(told).decode()


@pytest.mark.parametrize(
    ("raw", "kind", "said"),
    [
        (b"{}", ExecStartConfig, "field 'exec_id' is missing"),
        (b"[]", ExecStartConfig, "the value must be an object, not a list"),
        (
            b'{"exec_id":"a","attach":"perhaps","start_container":true}',
            ExecStartConfig,
            "field 'attach' must be true or false, not text",
        ),
        (
            b'{"exec_id":"a","attach":true,"start_container":true,"rows":70000}',
            ExecStartConfig,
            "field 'rows' must be a whole number <= 65535",
        ),
        (
            b'{"context":"/","container_config":{"mounts":[{"type":"x"}]}}',
            ImageBuildConfig,
            "field 'container_config.mounts[0].type' must be one of 'nullfs', 'volume', not 'x'",
        ),
        (
            b'{"context":"/","container_config":{},"buildargs":{"A":1}}',
            ImageBuildConfig,
            "field 'buildargs[...]' must be text, not a whole number",
        ),
        (b"{", ExecStartConfig, "not valid JSON: input data was truncated"),
    ],
)
def test_mistakes_in_input(raw: bytes, kind: type[object], said: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode(raw, kind)
    assert raised.value.message == said


def test_booleans_in_quotes_are_taken_and_other_text_stays_text() -> None:
    raw = b'{"exec_id":"true","attach":"true","start_container":"false"}'
    assert decode(raw, ExecStartConfig) == ExecStartConfig("true", True, False)
