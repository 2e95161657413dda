"""The program before it serves: options, the lock on the data directory, errors as users see them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kleene.daemon.config import parse_config
from kleene.daemon.main import locked, main
from kleene.daemon.notify import notify
from kleene.daemon.platforms import (
    Need,
    choose_storage,
    instance_of,
    missing_programs,
    together,
)
from kleene.errors import Conflict, HostUnavailable


def refused(*arguments: str) -> str:
    with pytest.raises(SystemExit) as raised:
        main([*arguments])
    return str(raised.value.code)


def test_configuration_is_checked_without_starting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("log_level: debug\n")
    main(["--config", str(file), "--check-config"])
    assert capsys.readouterr().out == "the configuration is valid\n"

    file.write_text("log_level: debug\nkleen_root: /a\nstorage: x\n")
    assert refused("--config", str(file), "--check-config") == (
        f"kleened: {file}:2: unknown key 'kleen_root'; did you mean 'kleene_root'?\n"
        f"{file}:3: storage: must be one of auto, btrfs, zfs, file, not 'x'"
    )


def test_certificate_that_cannot_be_used_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("nothing")
    file = tmp_path / "config.yaml"
    file.write_text(
        f"api_listening_sockets: [{{address: 'https:///x', tlscert: {tmp_path}/bad.pem}}]\n"
    )
    assert "cannot use its certificate" in refused("--config", str(file), "--check-config")


def test_only_root_may_run_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert refused("--root", str(tmp_path)).startswith("kleened: kleened must run as root\nhint: ")


def test_options_that_are_wrong() -> None:
    assert "is not an absolute path" in refused("--root", "here")
    assert "socket 'nowhere' is not valid" in refused("--host", "nowhere")
    assert "does not exist" in refused("--config", "/nonexistent/config.yaml")


def test_data_directory_is_for_one_daemon(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with locked(root):
        assert root.stat().st_mode & 0o777 == 0o700
        with pytest.raises(Conflict) as raised, locked(root):
            pass
        assert str(os.getpid()) in raised.value.message
    with locked(root):
        pass


def test_data_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostUnavailable, match="cannot be used"), locked(tmp_path / "file" / "root"):
        pass


def test_instance_is_the_data_directory_by_whatever_path(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert instance_of(tmp_path / "link") == instance_of(tmp_path / "real")
    assert instance_of(tmp_path / "link") != instance_of(tmp_path / "other")
    assert len(instance_of(tmp_path)) == 6


def test_all_that_the_host_lacks_is_told_at_once_with_one_line_to_install() -> None:
    missing = missing_programs(
        [Need(("sh",), "dash"), Need(("no-a", "no-b"), "a"), Need(("no-c", "sh"), "c")]
    )
    assert [each.message for each in missing] == ["program 'no-a or no-b' is not installed"]
    told = together(
        [
            *missing,
            HostUnavailable("'d', 'e' not found", hint="apt-get install d e"),
            HostUnavailable("no runtime works", hint="apt-get install a"),
            HostUnavailable("no loop device", hint="modprobe loop", details="why"),
        ]
    )
    assert told.details == (
        "program 'no-a or no-b' is not installed\n'd', 'e' not found\nno loop device: why"
    )
    assert told.hint == "apt-get install a d e; modprobe loop"


def test_one_thing_that_the_host_lacks_is_told_as_it_is() -> None:
    told = together([HostUnavailable("a is missing", hint="get a", details="x")])
    assert (told.message, told.hint, told.details) == ("a is missing", "get a", "x")


def test_storage_is_chosen_by_configuration_first(tmp_path: Path) -> None:
    assert choose_storage(parse_config("zfs_dataset: tank/k")) == "zfs"
    assert choose_storage(parse_config("storage: file")) == "file"
    assert choose_storage(parse_config("kleene_root: /proc/nothing")) == "file"


def test_service_manager_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import socket

    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        notify("READY=1")
        assert manager.recv(64) == b"READY=1"
