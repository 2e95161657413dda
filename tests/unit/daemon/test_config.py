"""The configuration: what may stand in it, and how its mistakes are told."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from kleene.daemon.addresses import Address, parse_address
from kleene.daemon.config import Config, Listener, load_config, parse_config, parse_size
from kleene.errors import InvalidInput, NotFound

WHOLE = """
kleene_root: /srv/kleene
pf_config_template_path: "/usr/local/etc/kleened/pf.conf.kleene"
pf_config_path: "/etc/pf.conf"
storage: zfs
zfs_dataset: tank/kleene
pool_size: 100G
api_listening_sockets:
    - http:///run/k.sock
    - address: "http://[::1]:8080/"
    - address: "https://127.0.0.1:8085"
      tlscert: "/certs/server-cert.pem"
      tlskey: "/certs/server-key.pem"
      tlsverify: true
      tlscacert: "/certs/ca.pem"
      tlsdh: "/certs/dhparams.pem"
enable_logging: false
log_level: "notice"
"""


def mistakes(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as raised:
        parse_config(text, "c")
    return [raised.value.message, *(raised.value.details or "").splitlines()]


def test_nothing_has_to_be_configured() -> None:
    assert parse_config("") == Config()
    assert parse_config("# nothing\n") == Config()
    assert Config().kleene_root == Path("/var/lib/kleene")
    assert [str(each.address) for each in Config().api_listening_sockets] == [
        "http:///var/run/kleened.sock"
    ]


def test_all_keys() -> None:
    assert parse_config(WHOLE) == Config(
        kleene_root=Path("/srv/kleene"),
        api_listening_sockets=(
            Listener(Address(False, path=Path("/run/k.sock"))),
            Listener(Address(False, ip=IPv6Address("::1"), port=8080)),
            Listener(
                Address(True, ip=IPv4Address("127.0.0.1"), port=8085),
                tlsverify=True,
                tlscacert=Path("/certs/ca.pem"),
                tlscert=Path("/certs/server-cert.pem"),
                tlskey=Path("/certs/server-key.pem"),
                tlsdh=Path("/certs/dhparams.pem"),
            ),
        ),
        storage="zfs",
        zfs_dataset="tank/kleene",
        pool_size=100 * 1024**3,
        pf_config_template_path=Path("/usr/local/etc/kleened/pf.conf.kleene"),
        pf_config_path=Path("/etc/pf.conf"),
        enable_logging=False,
        log_level="notice",
    )


def test_every_mistake_is_told_with_its_line_and_key() -> None:
    text = """\
kleen_root: /a
enable_logging: 3
storage: zfs
api_listening_sockets:
  - ftp://x
  - address: https://127.0.0.1
    tlsverify: true
  - tlscer: /c
pool_size: huge
log_level: loud
log_level: info
kleene_root: zroot/kleene
"""
    assert mistakes(text) == [
        "c:1: unknown key 'kleen_root'; did you mean 'kleene_root'?",
        "c:2: enable_logging: must be true or false",
        "c:3: storage 'zfs' needs the key 'zfs_dataset'",
        "c:5: api_listening_sockets: socket 'ftp://x' is not valid "
        "(write http:///PATH/TO/SOCKET, http://IP:PORT, or these with https)",
        "c:6: an https socket needs the key 'tlscert'",
        "c:7: tlsverify needs the key 'tlscacert'",
        "c:8: key 'address' is missing",
        "c:8: unknown key 'tlscer'; did you mean 'tlscert'?",
        "c:9: pool_size: 'huge' is not a size (write it as 100G)",
        "c:11: key 'log_level' is there twice",
        "c:12: kleene_root: data directory 'zroot/kleene' is not an absolute path "
        "(a ZFS dataset is named by the key 'zfs_dataset')",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kleene_root: [", "c:1: not valid YAML: "),
        ("- a\n", "c:1: the file must be a mapping of keys to values"),
        ("log_level: loud", "c:1: log_level: must be one of debug, info, notice, "),
        ("api_listening_sockets: http:///x", "c:1: api_listening_sockets: must be a list"),
        ("kleene_root: [/a]", "c:1: kleene_root: must be a single value"),
        ("kleene_root: 7", "c:1: kleene_root: must be a text"),
        ("kleene_root: !!python/object:os.system x", "c:1: kleene_root: must be a text"),
        ("kleene_root: ~", "c:1: kleene_root: must be a text"),
        ("api_listening_sockets: ['https:///x']", "c:1: api_listening_sockets: socket "),
        ("1: 2", "c:1: unknown key '1'"),
        ("[1]: 2", "c:1: unknown key "),
        ("pool_size: 10M", "c:1: pool_size: '10M' is too small for a storage pool"),
    ],
)
def test_mistakes_of_form(text: str, said: str) -> None:
    assert mistakes(text)[0].startswith(said)


def test_options_are_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("kleene_root: /a\nlog_level: debug\n")
    config = load_config(file, root="/b", hosts=["http:///c", "http://127.0.0.1:1"])
    assert config.kleene_root == Path("/b")
    assert config.log_level == "debug"
    assert [str(each.address) for each in config.api_listening_sockets] == [
        "http:///c",
        "http://127.0.0.1:1",
    ]


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        load_config(tmp_path / "no.yaml")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"\xff")
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_config(tmp_path / "c")
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http:///run/x.sock", "http:///run/x.sock"),
        ("https:///run/x.sock", "https:///run/x.sock"),
        ("http://127.0.0.1", "http://127.0.0.1:80"),
        ("https://127.0.0.1", "https://127.0.0.1:443"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_address(text: str, shown: str) -> None:
    assert str(parse_address(text)) == shown
    assert parse_address(shown) == parse_address(text)


@pytest.mark.parametrize(
    "text",
    ["", "x", "unix:///x", "http://", "http:///", "http://host", "http://1.2.3.4:x", "http://1.2.3.4:99999",
     "http://u@1.2.3.4", "http:///x?y", "http:x"],
)  # fmt: skip
def test_address_that_is_none(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "size"), [("512", 512), (512, 512), ("1M", 2**20), ("2G", 2**31), ("1TiB", 2**40)]
)
def test_size(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "1.5G", "1X", "1 G G"])
def test_size_that_is_none(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_size(text)


def test_bounds_of_the_logs_of_containers() -> None:
    config = parse_config("container_log_size: 512K\ncontainer_log_files: 3\n")
    assert (config.container_log_size, config.container_log_files) == (512 * 1024, 3)
    assert mistakes("container_log_files: 1") == [
        "c:1: container_log_files: '1' is not a number of files (write 2 or more, to 1000)"
    ]
