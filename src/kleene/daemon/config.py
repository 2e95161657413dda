"""The daemon's configuration: a YAML file, options over it, and defaults for all that is in neither.

Read once at start. Every mistake is told with its line and key, all of them at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar, get_args

from kleene.daemon.addresses import Address, parse_address
from kleene.daemon.yaml_values import Mapping, Mistakes, Value, read_document
from kleene.engine.retention_limits import DEFAULT, Limits
from kleene.errors import InvalidInput, NotFound
from kleene.runtime.driver import LogBounds
from kleene.storage.loopfile import LEAST_SIZE

T = TypeVar("T")

Storage = Literal["auto", "btrfs", "zfs", "file"]
OciRuntime = Literal["auto", "crun", "runc"]
LogLevel = Literal["debug", "info", "notice", "warning", "error", "critical"]
LogPlace = Literal["stderr", "file", "journald"]
LogFormat = Literal["text", "json"]

DEFAULT_SOCKET = "http:///var/run/kleened.sock"
_ETC = Path("/usr/local/etc") if sys.platform.startswith("freebsd") else Path("/etc")
DEFAULT_FILE = _ETC / "kleened" / "config.yaml"

_SIZES = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


@dataclass(frozen=True)
class Listener:
    """A socket of the API.

    Attributes:
        tlsverify: ask clients for a certificate that ``tlscacert`` vouches for.
        tlskey: ``None`` if ``tlscert`` has the key too.
        tlsdh: Diffie-Hellman parameters, PEM.
    """

    address: Address
    tlsverify: bool = False
    tlscacert: Path | None = None
    tlscert: Path | None = None
    tlskey: Path | None = None
    tlsdh: Path | None = None


_TIMES = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Config:
    """What the daemon was told.

    Attributes:
        kleene_root: the data directory.
        storage: ``auto``: ``zfs`` if ``zfs_dataset`` is set, ``btrfs`` if the data directory lies on one,
            else ``file``: a btrfs in a sparse file in the data directory.
        zfs_dataset: the dataset below which all others are made.
        oci_runtime: ``auto``: the first of the others that works.
        pool_size: bytes of the sparse file when it is made; ``None`` leaves it to the storage.
        context_max_size: bytes of the largest build context that is uploaded or fetched.
        context_keep_size, context_keep_days: bytes of uploaded contexts that are kept, and for how many days
            after their last use.
        ssh_known_hosts: file with the keys of the SSH servers that git may fetch from.
        pf_config_template_path, pf_config_path: the user's template and the generated file, for pf (FreeBSD).
        enable_logging: if not, only errors are logged.
        retention: what builds may leave behind.
        log_file: for ``log: file``.
        log_format: of standard error and of the file; the journal has fields.
        container_log_size: bytes after which what an execution instance writes goes to a new file.
        container_log_files: files that are kept of each instance.
    """

    kleene_root: Path = Path("/var/lib/kleene")
    api_listening_sockets: tuple[Listener, ...] = (Listener(parse_address(DEFAULT_SOCKET)),)
    storage: Storage = "auto"
    oci_runtime: OciRuntime = "auto"
    zfs_dataset: str | None = None
    pool_size: int | None = None
    context_max_size: int = 16 * 1024**3
    context_keep_size: int = 16 * 1024**3
    context_keep_days: int = 7
    ssh_known_hosts: Path = Path("/etc/ssh/ssh_known_hosts")
    pf_config_template_path: Path = _ETC / "kleened" / "pf.conf.kleene"
    pf_config_path: Path = Path("/etc/pf.conf")
    enable_logging: bool = True
    log_level: LogLevel = "info"
    log: LogPlace = "stderr"
    log_file: Path = Path("/var/log/kleened.log")
    log_format: LogFormat = "text"
    container_log_size: int = LogBounds.size
    container_log_files: int = LogBounds.files
    retention: Limits = DEFAULT

    @property
    def log_bounds(self) -> LogBounds:
        """How much is kept of what containers write."""
        return LogBounds(self.container_log_size, self.container_log_files)


def load_config(file: Path | None, *, root: str | None = None, hosts: Sequence[str] = ()) -> Config:
    """The configuration in ``file``, with the options of the command line over it.

    Args:
        file: ``None`` for the default place, where there need not be one.
        root: overrides ``kleene_root``.
        hosts: override ``api_listening_sockets``.

    Raises:
        NotFound: ``file`` was named and does not exist.
        InvalidInput: it has mistakes, or an option is not valid.
    """
    config = _from_file(file or DEFAULT_FILE, required=file is not None)
    if root is not None:
        config = replace(config, kleene_root=_root(root))
    if hosts:
        listeners = tuple(_plain(parse_address(host)) for host in hosts)
        config = replace(config, api_listening_sockets=listeners)
    return config


def parse_config(text: str, name: str = "config.yaml") -> Config:
    """Read a configuration file's ``text``; ``name`` is how mistakes call the file.

    Raises:
        InvalidInput: with a line for each mistake in its details.
    """
    mistakes = Mistakes(name)
    top = read_document(text, mistakes)
    config = _config(top) if top is not None else Config()
    mistakes.check()
    return config


def _from_file(path: Path, *, required: bool) -> Config:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if required:
            raise NotFound(
                f"configuration file '{path}' does not exist",
                hint="name one that is there; without --config none is needed",
            ) from error
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"configuration file '{path}' cannot be read: {error}",
            hint="name a YAML file in UTF-8 that root can read",
        ) from error
    return parse_config(text, str(path))


def _config(top: Mapping) -> Config:
    """The values of the document; a key that is missing or wrong leaves its default."""
    default = Config()
    top.only(Config.__dataclass_fields__)
    sockets = [_listener(each) for each in top.items("api_listening_sockets")]
    listeners = tuple(each for each in sockets if each is not None)
    config = Config(
        kleene_root=top.convert("kleene_root", lambda v: _root(v.text()), default.kleene_root),
        api_listening_sockets=listeners or default.api_listening_sockets,
        storage=top.convert("storage", lambda v: v.word(get_args(Storage)), default.storage),
        oci_runtime=top.convert("oci_runtime", lambda v: v.word(get_args(OciRuntime)), "auto"),
        zfs_dataset=top.convert("zfs_dataset", Value.text, None),
        pool_size=top.convert("pool_size", _pool_size, None),
        context_max_size=_size(top, "context_max_size", default.context_max_size),
        context_keep_size=_size(top, "context_keep_size", default.context_keep_size),
        context_keep_days=top.convert(
            "context_keep_days", lambda v: _days(v.scalar()), default.context_keep_days
        ),
        ssh_known_hosts=top.convert("ssh_known_hosts", _known_hosts, default.ssh_known_hosts),
        pf_config_template_path=top.convert(
            "pf_config_template_path", _path, default.pf_config_template_path
        ),
        pf_config_path=top.convert("pf_config_path", _path, default.pf_config_path),
        enable_logging=top.convert("enable_logging", Value.truth, True),
        log_level=top.convert("log_level", lambda v: v.word(get_args(LogLevel)), "info"),
        log=top.convert("log", lambda v: v.word(get_args(LogPlace)), "stderr"),
        log_file=top.convert("log_file", _path, default.log_file),
        log_format=top.convert("log_format", lambda v: v.word(get_args(LogFormat)), "text"),
        container_log_size=top.convert(
            "container_log_size", lambda v: parse_size(v.scalar()), LogBounds.size
        ),
        container_log_files=top.convert("container_log_files", _file_count, LogBounds.files),
        retention=top.convert("retention", _retention, DEFAULT),
    )
    if config.storage == "zfs" and config.zfs_dataset is None:
        top.mistake("storage", "storage 'zfs' needs the key 'zfs_dataset'")
    return config


def _known_hosts(value: Value) -> Path:
    path = _path(value)
    if any(character.isspace() or character in "\"'%" for character in str(path)):
        raise InvalidInput("ssh takes no path with spaces, quotes or '%'", hint="choose another")
    return path


def _file_count(value: Value) -> int:
    count = str(value.scalar())
    if not count.isdecimal() or not 2 <= int(count) <= 1000:
        raise InvalidInput(f"'{count}' is not a number of files", hint="write 2 or more, to 1000")
    return int(count)


def _retention(value: Value) -> Limits:
    if not value.is_mapping():
        raise InvalidInput("must be a mapping", hint="age, size, count and interval")
    mapping, default = value.mapping(), DEFAULT
    mapping.only(Limits.__dataclass_fields__)
    return Limits(
        age=mapping.convert("age", lambda v: _bound(v, parse_time), default.age),
        size=mapping.convert("size", lambda v: _bound(v, parse_size), default.size),
        count=mapping.convert("count", lambda v: _bound(v, _count), default.count),
        interval=mapping.convert("interval", lambda v: parse_time(v.scalar()), default.interval),
    )


def _bound(value: Value, parse: Callable[[str | int], T]) -> T | None:
    """A limit; ``none`` for none."""
    text = value.scalar()
    return None if text == "none" else parse(text)


def _count(value: str | int) -> int:
    if not str(value).isdecimal():
        raise InvalidInput(f"'{value}' is not a number", hint="write a whole number, or none")
    return int(value)


def parse_time(value: str | int) -> float:
    """Seconds of ``value``: a number with s, m, h or d.

    Raises:
        InvalidInput: it is none.
    """
    text = str(value).strip()
    unit = _TIMES.get(text[-1:])
    if unit is None or not text[:-1].isdecimal() or not int(text[:-1]):
        raise InvalidInput(f"'{value}' is not a time", hint="write it as 30d, 12h, 90m or 45s")
    return int(text[:-1]) * unit


def _listener(value: Value) -> Listener | None:
    """A socket of the list: its address, or a mapping with the address and what TLS needs."""
    if not value.is_mapping():
        return value.attempt(lambda v: _plain(parse_address(v.text())), None)
    mapping = value.mapping()
    mapping.only(Listener.__dataclass_fields__)
    address = mapping.convert("address", lambda v: parse_address(v.text()), None)
    if address is None:
        mapping.require("address")
        return None
    listener = Listener(
        address,
        tlsverify=mapping.convert("tlsverify", Value.truth, False),
        tlscacert=mapping.convert("tlscacert", _path, None),
        tlscert=mapping.convert("tlscert", _path, None),
        tlskey=mapping.convert("tlskey", _path, None),
        tlsdh=mapping.convert("tlsdh", _path, None),
    )
    if address.tls:
        _check_tls(listener, mapping)
    return listener


def _check_tls(listener: Listener, mapping: Mapping) -> None:
    if listener.tlscert is None:
        mapping.mistake("address", "an https socket needs the key 'tlscert'")
    if listener.tlsverify and listener.tlscacert is None:
        mapping.mistake("tlsverify", "tlsverify needs the key 'tlscacert'")


def _plain(address: Address) -> Listener:
    if address.tls:
        raise InvalidInput(
            f"socket '{address}' needs a certificate",
            hint="write it in the configuration file, as a mapping with tlscert and tlskey",
        )
    return Listener(address)


def _size(top: Mapping, key: str, default: int) -> int:
    return top.convert(key, lambda v: parse_size(v.scalar()), default)


def _pool_size(value: Value) -> int:
    size = parse_size(value.scalar())
    if size < LEAST_SIZE:
        raise InvalidInput(
            f"'{value.scalar()}' is too small for a storage pool",
            hint=f"write {LEAST_SIZE >> 20}M or more",
        )
    return size


def _days(value: str | int) -> int:
    if not str(value).isdecimal():
        raise InvalidInput(f"'{value}' is not a number of days", hint="write a whole number")
    return int(value)


def _root(text: str) -> Path:
    if not text.startswith("/"):
        raise InvalidInput(
            f"data directory '{text}' is not an absolute path",
            hint="a ZFS dataset is named by the key 'zfs_dataset'",
        )
    return Path(text)


def _path(value: Value) -> Path:
    text = value.text()
    if not text.startswith("/"):
        raise InvalidInput(f"'{text}' is not an absolute path", hint="begin it with '/'")
    return Path(text)


def parse_size(value: str | int) -> int:
    """Bytes of ``value``: a number, or one with K, M, G or T (powers of 1024).

    Raises:
        InvalidInput: it is none of these.
    """
    text = str(value).strip().removesuffix("B").removesuffix("i")
    number, unit = (text[:-1], _SIZES.get(text[-1:])) if text[-1:] in _SIZES else (text, 1)
    if not number.isdigit() or unit is None:
        raise InvalidInput(f"'{value}' is not a size", hint="write it as 100G")
    return int(number) * unit
