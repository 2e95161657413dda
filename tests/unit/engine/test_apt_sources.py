"""The host's package sources: understood as apt does, and only the distribution's own taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from kleene.engine import apt_sources, bootstrap
from kleene.engine.apt_sources import PackageSource, Release, own_sources
from kleene.errors import HostUnavailable

BOOKWORM = Release("debian", "bookworm", "12")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PARAGRAPHS = f"""\
# comment
Types: deb deb-src
URIs: http://deb.example.org/debian
# http://elsewhere/
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: {KEYRING}
Languages: de

Enabled: no
Types: deb
URIs: http://off/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source/debian
Suites: bookworm
Components: main


Types: deb
URIs: http://flat/
Suites: ./
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
"""


def nowhere(uri: str, suite: str) -> str | None:
    return None


def test_paragraphs() -> None:
    first, flat = apt_sources.parse_paragraphs(PARAGRAPHS)
    assert first == PackageSource(
        ("http://deb.example.org/debian",),
        ("bookworm", "bookworm-updates"),
        ("main", "contrib"),
        {"Signed-By": KEYRING},
    )
    assert flat.options["Signed-By"].splitlines()[1] == " -----BEGIN PGP PUBLIC KEY BLOCK-----"


def test_a_rendered_source_is_read_back_the_same() -> None:
    for source in apt_sources.parse_paragraphs(PARAGRAPHS):
        (again,) = apt_sources.parse_paragraphs(source.render())
        assert again == source


def test_lines() -> None:
    text = f"""\
# deb http://old/debian bookworm main
deb http://deb.example.org/debian bookworm main contrib # comment
deb [arch=amd64,arm64 signed-by={KEYRING},/b.gpg trusted=yes lang=de] https://x/debian  bookworm/updates main
deb-src http://deb.example.org/debian bookworm main
deb broken
nonsense
"""
    first, second = apt_sources.parse_lines(text)
    assert (first.uris, first.suites, first.components) == (
        ("http://deb.example.org/debian",),
        ("bookworm",),
        ("main", "contrib"),
    )
    assert second.architectures == ("amd64", "arm64")
    assert second.options == {"Signed-By": f"{KEYRING} /b.gpg", "Trusted": "yes"}


@pytest.mark.parametrize(
    ("line", "taken"),
    [
        ("deb http://deb.example.org/debian bookworm main", True),
        ("deb http://deb.example.org/debian-security bookworm-security main", True),
        ("deb http://security.example.org/debian-security/ bookworm/updates main", True),
        ("deb http://cache:3142/deb.example.org/debian bookworm-backports main", True),
        (f"deb [signed-by={KEYRING}] http://mirror.corp/deb12 bookworm main", True),
        ("deb http://deb.example.org/debian stable main", True),
        ("deb http://deb.example.org/debian trixie main", False),
        ("deb http://mirror.corp/deb12 bookworm main", False),
        ("deb https://docker.example.org/linux/debian bookworm stable", False),
        ("deb https://pgdg.example.org/pub/repos/apt bookworm-pgdg main", False),
        ("deb https://node.example.org/node_20.x bookworm main", False),
        ("deb [arch=i386] http://deb.example.org/debian bookworm main", False),
        ("deb cdrom:[Debian]/ bookworm main", False),
        ("deb file:/srv/debian bookworm main", False),
    ],
)
def test_only_the_distributions_own_are_taken(line: str, taken: bool) -> None:
    sources = apt_sources.parse_lines(line)
    assert bool(own_sources(sources, BOOKWORM, "amd64", nowhere)) is taken


def test_what_the_fetched_index_says_goes_before_the_looks() -> None:
    sources = apt_sources.parse_lines("deb http://mirror.corp/x bookworm main restricted")
    (taken,) = own_sources(sources, BOOKWORM, "amd64", lambda uri, suite: "Debian")
    assert taken.components == ("main",)
    sources = apt_sources.parse_lines("deb https://esm.ubuntu.com/ubuntu jammy main")
    jammy = Release("ubuntu", "jammy", "22.04")
    assert own_sources(sources, jammy, "amd64", lambda uri, suite: "UbuntuESM") == []


def test_index_file_is_named_as_apt_does() -> None:
    assert (
        apt_sources.index_file("http://user:pw@deb.example.org/debian/", "bookworm/updates")
        == "deb.example.org_debian_dists_bookworm_updates"
    )


def test_settings_are_what_the_host_adds_and_the_image_gets_no_secrets() -> None:
    defaults = 'Acquire::cdrom::mount "/media";\nAcquire::AllowWeakRepositories "0";'
    dump = f"""{defaults}
APT::Architecture "amd64";
Acquire::Check-Valid-Until "false";
Acquire::http::Proxy "http://user:secret@proxy:3128/";
Acquire::https::Proxy "http://proxy:3128/";
Acquire::http::Proxy-Auto-Detect "/usr/bin/detect";
Acquire::https::SslKey "/etc/ssl/private/key.pem";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";"""
    settings = apt_sources.settings(dump, defaults)
    assert settings == [
        'Acquire::Check-Valid-Until "false";',
        'Acquire::http::Proxy "http://user:secret@proxy:3128/";',
        'Acquire::https::Proxy "http://proxy:3128/";',
        'Acquire::https::SslKey "/etc/ssl/private/key.pem";',
    ]
    assert apt_sources.for_image(settings) == [settings[0], settings[2]]
    assert apt_sources.without_password("https://u:p@host:8/x") == "https://host:8/x"


def test_release_is_told_by_os_release(tmp_path: Path) -> None:
    text = 'ID=ubuntu\nVERSION_ID="22.04"\n# x\nVERSION_CODENAME=jammy\n'
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(text)
    assert bootstrap.read_release(tmp_path).name == "Ubuntu-22.04"
    (tmp_path / "etc/os-release").write_text("ID=debian\nVERSION_CODENAME=forky\n")
    assert bootstrap.read_release(tmp_path).name == "Debian-forky"


@pytest.mark.parametrize(
    "text",
    [
        "ID=fedora\nPRETTY_NAME='Fedora 40'\n",
        "ID=linuxmint\nID_LIKE=ubuntu\nVERSION_CODENAME=wilma\n",
        "ID=debian\nVERSION_CODENAME=--evil\n",
        "",
    ],
)
def test_other_systems_are_told_to_fetch(tmp_path: Path, text: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(text)
    with pytest.raises(HostUnavailable, match="cannot be made from its packages") as caught:
        bootstrap.read_release(tmp_path)
    assert "fetch URL" in (caught.value.hint or "")


def test_all_files_and_mirror_lists_are_read(tmp_path: Path) -> None:
    apt = tmp_path / "etc/apt"
    (apt / "sources.list.d").mkdir(parents=True)
    (apt / "mirrors").mkdir()
    (apt / "sources.list").write_text("deb http://one/debian bookworm main\n")
    (apt / "sources.list.d/two.list").write_text("deb http://two/debian bookworm main\n")
    (apt / "sources.list.d/three.sources").write_text(
        "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\n"
        "Suites: bookworm\nComponents: main\n"
    )
    (apt / "sources.list.d/four.list.disabled").write_text("deb http://off/debian bookworm main\n")
    (apt / "mirrors/debian.list").write_text(
        "# best\nhttps://a/debian\tpriority:1\nhttp://b/debian\n"
    )
    uris = [source.uris for source in bootstrap.read_sources(tmp_path)]
    assert uris == [
        ("http://one/debian",),
        ("https://a/debian", "http://b/debian"),
        ("http://two/debian",),
    ]
