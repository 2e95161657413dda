"""The API's sockets: free, taken, stale, and who may use them."""

from __future__ import annotations

import grp
import os
import socket
import stat
from pathlib import Path

import pytest

from kleene.daemon import sockets
from kleene.daemon.addresses import parse_address
from kleene.daemon.sockets import check_free, listening
from kleene.errors import Conflict, HostUnavailable, InvalidInput


def test_socket_is_made_for_its_group_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "GROUP", grp.getgrgid(os.getegid()).gr_name)
    path = tmp_path / "new" / "k.sock"
    with listening([parse_address(f"http://{path}")]) as (made,):
        found = path.stat()
        assert stat.S_IMODE(found.st_mode) == 0o660
        assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            made.accept()[0].close()
    assert not path.exists()


def test_socket_without_its_group_is_for_root_alone_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sockets, "GROUP", "no-such-group")
    path = tmp_path / "k.sock"
    with listening([parse_address(f"http://{path}")]):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"group 'no-such-group' does not exist: only root may use '{path}'" in caplog.text


def test_socket_of_a_live_daemon_is_refused(tmp_path: Path) -> None:
    address = parse_address(f"http://{tmp_path}/k.sock")
    with listening([address]):
        with pytest.raises(Conflict, match="is in use by another process") as raised:
            check_free([address])
        assert "kleened --host" in (raised.value.hint or "")
        with pytest.raises(Conflict), listening([address]):
            pass
        assert (tmp_path / "k.sock").exists()


def test_socket_that_a_crash_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "k.sock"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    address = parse_address(f"http://{path}")
    check_free([address])
    with listening([address]), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(InvalidInput, match="is no socket"):
        check_free([parse_address(f"http://{path}")])
    with pytest.raises(InvalidInput), listening([parse_address(f"http://{path}")]):
        pass
    assert path.read_text() == "data"


def test_tcp_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = parse_address(f"http://127.0.0.1:{other.getsockname()[1]}")
        with pytest.raises(Conflict, match="is in use"), listening([address]):
            pass


def test_address_that_the_host_does_not_have_is_told() -> None:
    address = parse_address("http://192.0.2.1:8080")
    with pytest.raises(HostUnavailable, match="cannot be opened"), listening([address]):
        pass


@pytest.mark.parametrize("path", ["/etc/passwd/k.sock", f"/tmp/{'x' * 120}", "/proc/k.sock"])
def test_path_that_no_socket_can_have_is_told(path: str) -> None:
    addresses = [parse_address(f"http://{path}")]
    with pytest.raises(HostUnavailable, match=r"cannot be opened: [A-Z]") as caught:
        check_free(addresses)
        with listening(addresses):
            pass
    assert "choose a shorter path" in (caught.value.hint or "")


def test_sockets_before_one_that_fails_are_given_back(tmp_path: Path) -> None:
    good, bad = parse_address(f"http://{tmp_path}/k.sock"), parse_address("http://192.0.2.1:80")
    with pytest.raises(HostUnavailable), listening([good, bad]):
        pass
    assert not (tmp_path / "k.sock").exists()
