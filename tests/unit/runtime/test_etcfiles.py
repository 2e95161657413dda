"""resolv.conf, hosts, and what they are mounted on."""

from __future__ import annotations

from pathlib import Path

import pytest

from kleene.runtime.etcfiles import (
    hosts,
    make_mountpoints,
    remove_mountpoints,
    resolv_conf,
    with_options,
    write,
)
from kleene.runtime.options import Options

LOCAL = "search lan\nnameserver 127.0.0.53\noptions edns0\n"


@pytest.mark.parametrize(
    ("host", "upstream", "own", "expected"),
    [
        ("nameserver 10.0.0.1\n", "", True, "nameserver 10.0.0.1\n"),
        (LOCAL, "", False, LOCAL),
        (LOCAL, "nameserver 9.9.9.9\n", True, "nameserver 9.9.9.9\n"),
        (
            "nameserver ::1\nnameserver fe80::1%eth0\n",
            "",
            True,
            "nameserver fe80::1%eth0\n",
        ),
        (
            LOCAL,
            "nameserver 127.0.0.1\n",
            True,
            "search lan\noptions edns0\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n",
        ),
        ("", "", True, "nameserver 1.1.1.1\nnameserver 8.8.8.8\n"),
    ],
)
def test_resolv_conf(host: str, upstream: str, own: bool, expected: str) -> None:
    assert resolv_conf(host, upstream, own_stack=own) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(), LOCAL),
        (
            Options(dns=["10.0.0.1"]),
            "search lan\noptions edns0\nnameserver 10.0.0.1\n",
        ),
        (
            Options(dns_search=["a.b", "c"], dns_options=["ndots:1"]),
            "nameserver 127.0.0.53\nsearch a.b c\noptions ndots:1\n",
        ),
        (Options(dns_search=["."]), "nameserver 127.0.0.53\noptions edns0\n"),
    ],
)
def test_what_options_replace(options: Options, expected: str) -> None:
    assert with_options(LOCAL, options) == expected


def test_hosts() -> None:
    assert hosts("10.1.1.1 db", "web", own_stack=True).splitlines() == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "127.0.1.1\tweb",
    ]
    assert hosts("10.1.1.1 db", "web", own_stack=False) == "10.1.1.1 db\n127.0.1.1\tweb\n"
    assert hosts("10.1.1.1 db # web", "db", own_stack=False) == "10.1.1.1 db # web\n"


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    return root


def made_in(tmp_path: Path, rootfs: Path) -> tuple[list[str], list[str]]:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    mountable, made = make_mountpoints(rootfs, write(bundle, "web", own_stack=True))
    return [f.destination for f in mountable], made


ALL = ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname"]


def test_what_is_there_is_used_and_stays(tmp_path: Path, rootfs: Path) -> None:
    (rootfs / "etc/hosts").write_text("")
    mountable, made = made_in(tmp_path, rootfs)
    assert mountable == ALL
    assert made == ["/etc/resolv.conf", "/etc/hostname"]
    (rootfs / "etc/hostname").write_text("written meanwhile")
    remove_mountpoints(rootfs, made)
    assert sorted(p.name for p in (rootfs / "etc").iterdir()) == ["hostname", "hosts"]


def test_a_root_without_etc_gets_one_for_the_while(tmp_path: Path, rootfs: Path) -> None:
    (rootfs / "etc").rmdir()
    mountable, made = made_in(tmp_path, rootfs)
    assert mountable == ALL
    remove_mountpoints(rootfs, made)
    assert list(rootfs.iterdir()) == []


def test_links_are_followed_inside_only(tmp_path: Path, rootfs: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (rootfs / "etc/resolv.conf").symlink_to("../run/resolve/stub.conf")
    (rootfs / "etc/hosts").symlink_to(outside / "hosts")
    (rootfs / "etc/hostname").symlink_to("hostname")
    mountable, made = made_in(tmp_path, rootfs)
    assert mountable == ["/etc/resolv.conf", "/etc/hosts"]
    assert (rootfs / "run/resolve/stub.conf").is_file()
    remove_mountpoints(rootfs, made)
    assert list(outside.iterdir()) == []
    assert [p.name for p in rootfs.iterdir()] == ["etc"]
    assert len(list((rootfs / "etc").iterdir())) == 3


def test_a_directory_is_left_alone(tmp_path: Path, rootfs: Path) -> None:
    (rootfs / "etc/resolv.conf").mkdir()
    mountable, made = made_in(tmp_path, rootfs)
    assert mountable == ALL[1:]
    remove_mountpoints(rootfs, made)
    assert (rootfs / "etc/resolv.conf").is_dir()
