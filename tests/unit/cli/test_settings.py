"""Flags over environment over configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest

from kleene.cli.settings import Settings, load_settings
from kleene.errors import InvalidInput


def test_nothing_is_set() -> None:
    assert load_settings({}, {}) == Settings()
    assert Settings().host == "http:///var/run/kleened.sock"


def test_order_of_precedence(tmp_path: Path) -> None:
    file = tmp_path / "klee_config.yaml"
    file.write_text("host: http:///file\ntheme: simple\ntlsverify: false\ntlscert: /file.pem\n")
    environ = {"KLEE_CONFIG": str(file), "KLEE_HOST": "http:///environ", "KLEE_TLS_CERT": "/e.pem"}
    flags = {"host": "http:///flag", "theme": None, "tlscert": None}
    assert load_settings(flags, environ) == Settings(
        host="http:///flag", theme="simple", tlsverify=False, tlscert="/e.pem"
    )


def test_places_of_the_file(tmp_path: Path) -> None:
    (tmp_path / ".klee").mkdir()
    (tmp_path / ".klee/klee_config.yaml").write_text("theme: simple")
    assert load_settings({}, {"HOME": str(tmp_path)}).theme == "simple"
    (tmp_path / "klee_config.yaml").write_text("theme: fancy")  # the working directory's
    assert load_settings({}, {"HOME": str(tmp_path)}).theme == "fancy"
    other = tmp_path / "other.yaml"
    other.write_text("")
    assert load_settings({"config": str(other)}, {"HOME": str(tmp_path)}) == Settings()


def test_an_empty_variable_is_not_set() -> None:
    assert load_settings({}, {"KLEE_HOST": "", "KLEE_THEME": ""}) == Settings()


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("TRUE", True), ("no", False), ("", False)]
)
def test_tlsverify_from_the_environment(value: str, expected: bool) -> None:
    assert load_settings({}, {"KLEE_TLS_VERIFY": value}).tlsverify is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hots: x", "unknown parameter 'hots'"),
        ("[1, 2]", "must hold lines"),
        ("host: [", "not valid YAML"),
        ("host: 7", "must be text"),
        ("theme: gaudy", "unknown theme 'gaudy'"),
        ("tlsverify: maybe", "true or false"),
    ],
)
def test_bad_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "klee_config.yaml").write_text(text)
    with pytest.raises(InvalidInput, match=message.replace("[", r"\[")):
        load_settings({}, {})


def test_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.yaml': no such file"):
        load_settings({"config": "none.yaml"}, {})
