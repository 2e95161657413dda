"""Mounts, ports, variables and container options, as users write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kleene.cli.arguments import build_arguments, container_config, mount, port, variables
from kleene.errors import InvalidInput

OPTIONS: dict[str, Any] = {
    "user": "",
    "env": (),
    "mount": (),
    "jailparam": (),
    "driver": None,
    "network": None,
    "ip": None,
    "ip6": None,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080", ([], "8080", "8080", "tcp")),
        ("8080:80", ([], "8080", "80", "tcp")),
        ("8080:80/udp", ([], "8080", "80", "udp")),
        ("em1:8080:80", (["em1"], "8080", "80", "tcp")),
        ("em1:53:53/udp", (["em1"], "53", "53", "udp")),
        ("8000-8010", ([], "8000:8010", "8000:*", "tcp")),
        ("8000-8010:9000", ([], "8000:8010", "9000:*", "tcp")),
        ("8000-8010:9000-9010/tcp", ([], "8000:8010", "9000:*", "tcp")),
    ],
)
def test_port(text: str, expected: tuple[list[str], str, str, str]) -> None:
    read = port(text)
    assert tuple(read.values()) == expected
    assert list(read) == ["interfaces", "host_port", "container_port", "protocol"]


@pytest.mark.parametrize(
    "text",
    ":80 80: em1:80 :80:80 a:1:2:3 9-8 ² 1-3:1-2 1-3:65535 1- 80:80-82 x 0 65536 80/sctp 80/".split(),
)
def test_bad_port_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        port(text)
    assert f"'{text}'" in refused.value.message


def test_mount() -> None:
    assert mount("data:/var/data") == {
        "type": "volume",
        "source": "data",
        "destination": "/var/data",
        "read_only": False,
    }
    assert mount("/srv:/srv:ro")["type"] == "nullfs"
    assert mount("/srv:/srv:ro")["read_only"] is True
    assert mount("/srv:/srv:rw")["read_only"] is False
    assert mount("type=bind,src=/srv,dst=/srv,ro") == mount("/srv:/srv:ro")
    assert mount("source=data,target=/d,readonly=false") == mount("data:/d")
    assert mount("/a=b,c:/d")["source"] == "/a=b,c"


def test_a_mount_of_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert mount("./src:/app") == mount(f"{tmp_path}/src:/app")
    assert mount("..:/up:ro") == mount(f"{tmp_path.parent}:/up:ro")
    assert mount("type=bind,src=./a,dst=/a") == mount(f"{tmp_path}/a:/a")
    with pytest.raises(InvalidInput, match="a volume does not begin"):
        mount("type=volume,src=./a,dst=/a")


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("type=tmpfs,dst=/run", "--tmpfs /run"),
        ("type=bind,src=data,dst=/d", "type=bind"),
        ("type=volume,src=/data,dst=/d", "type=bind"),
        ("type=npipe,src=a,dst=/b", "type=bind"),
        ("src=a", "type=bind"),
        ("src=a,dst=/b,dst=/c", "type=bind"),
        ("src=a,dst=/b,consistency=x", "type=bind"),
        ("512m", "--memory 512m"),
        ("/data", "-m NAME:/data"),
    ],
)
def test_a_mount_of_fields_that_is_none(text: str, remedy: str) -> None:
    with pytest.raises(InvalidInput, match="mount") as refused:
        mount(text)
    assert remedy in (refused.value.hint or "")


@pytest.mark.parametrize("text", ["", "data", ":/x", "data:", "a:/b:rx", "a:/b:ro:z", "a:b"])
def test_bad_mount_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="mount"):
        mount(text)


def test_variables_come_from_the_environment_if_they_have_no_value() -> None:
    environ = {"HOME": "/root", "A": "1"}
    assert variables(["X=1=2", "A", "MISSING", "E="], environ) == ["X=1=2", "A=1", "E="]
    assert build_arguments(["X=1", "X=2", "HOME"], environ) == {"X": "2", "HOME": "/root"}
    with pytest.raises(InvalidInput, match="no name"):
        variables(["=1"], environ)


@pytest.mark.parametrize(
    ("network", "driver", "expected"),
    [
        (None, None, "host"),
        ("n", None, "ipnet"),
        ("n", "vnet", "vnet"),
        (None, "disabled", "disabled"),
    ],
)
def test_driver_follows_the_network(network: str | None, driver: str | None, expected: str) -> None:
    config = container_config(OPTIONS | {"network": network, "driver": driver}, {})
    assert config["network_driver"] == expected


@pytest.mark.parametrize(
    "options",
    [
        {"network": "n", "driver": "host"},
        {"network": "n", "driver": "disabled"},
        {"ip": "10.0.0.1"},
    ],
)
def test_contradictions_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        container_config(OPTIONS | options, {})
