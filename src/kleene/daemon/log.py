"""Where the daemon's log goes and how it looks: standard error, a file, or systemd's journal.

Set up at start and again on SIGHUP; what was opened before is closed then.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import socket
import struct
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kleene.daemon.config import Config
from kleene.errors import HostUnavailable

JOURNAL = Path("/run/systemd/journal/socket")
NOTICE = logging.INFO + 5

_LEVELS = {"notice": NOTICE}
_LEVEL_OF_OTHERS = logging.WARNING


class JsonLines(logging.Formatter):
    """One JSON object a line; ``exception`` is there only if there was one."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class Indented(logging.Formatter):
    """Text for people. Further lines of a record are indented: users' text in it cannot pass for a record."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n    ".join(super().format(record).splitlines())


class Prioritised(logging.Formatter):
    """Lines for a service manager that reads standard error: it knows the time, and takes the priority
    from the beginning of each line (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        mark = f"<{priority(record.levelno)}>"
        return "\n".join(mark + line for line in super().format(record).splitlines())


class JournalHandler(logging.Handler):
    """Sends records to the journal with their fields (systemd's "Native Journal Protocol").

    Raises:
        HostUnavailable: when made: there is no journal at ``path``.
    """

    def __init__(self, path: Path = JOURNAL) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise HostUnavailable(
                f"there is no journal at '{path}': {error.strerror}",
                hint="set the key 'log' to 'file' or 'stderr'",
            ) from error

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record; what the journal does not take is lost, and nothing else is."""
        try:
            data = encode_entry(_fields(record, self.format(record)))
            try:
                self._socket.send(data)
            except OSError as error:
                self._send_in_file(data, error)
        except Exception:
            self.handleError(record)

    def _send_in_file(self, data: bytes, refused: OSError) -> None:
        """What a datagram cannot hold goes in a sealed memory file."""
        if sys.platform != "linux":
            raise refused
        import fcntl

        fd = os.memfd_create("kleened-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(fd, data)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            socket.send_fds(self._socket, [b"\0"], [fd])
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


def priority(level: int) -> int:
    """The priority of syslog(3) for a level of ``logging``."""
    steps = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (NOTICE, 5))
    found = next((number for least, number in steps if level >= least), None)
    return found if found is not None else (6 if level >= logging.INFO else 7)


def encode_entry(fields: dict[str, str]) -> bytes:
    """An entry of the journal: values of several lines are counted, others end at their line."""
    parts = []
    for name, value in fields.items():
        data = value.encode(errors="replace")
        if b"\n" in data:
            parts += [name.encode(), b"\n", struct.pack("<Q", len(data)), data, b"\n"]
        else:
            parts += [name.encode(), b"=", data, b"\n"]
    return b"".join(parts)


def _fields(record: logging.LogRecord, message: str) -> dict[str, str]:
    return {
        "MESSAGE": message,
        "PRIORITY": str(priority(record.levelno)),
        "SYSLOG_IDENTIFIER": "kleened",
        "LOGGER": record.name,
        "CODE_FILE": record.pathname,
        "CODE_LINE": str(record.lineno),
    }


def set_up(config: Config) -> None:
    """Send the log where ``config`` says, in place of where it went before.

    Raises:
        HostUnavailable: there is no journal, or the file cannot be written to.
    """
    logging.addLevelName(NOTICE, "NOTICE")
    handler = _handler(config)
    root = logging.getLogger()
    for old in root.handlers[:]:
        # Those of others (a test's) are left alone.
        if getattr(old, "of_kleened", False):
            root.removeHandler(old)
            old.close()
    handler.of_kleened = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    root.setLevel(level_of(config))
    # What the server says of itself is told in our own words.
    logging.getLogger("uvicorn").setLevel(_LEVEL_OF_OTHERS)


def level_of(config: Config) -> int:
    """The least level that is logged."""
    if not config.enable_logging:
        return logging.ERROR
    found = _LEVELS.get(config.log_level) or logging.getLevelName(config.log_level.upper())
    assert isinstance(found, int)
    return found


def _handler(config: Config) -> logging.Handler:
    if config.log == "journald":
        return JournalHandler()
    to_file = config.log == "file"
    handler = _file_handler(config.log_file) if to_file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(config))
    return handler


def _file_handler(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Opened anew when the file was moved away: rotation needs no signal.
        return logging.handlers.WatchedFileHandler(path, encoding="utf-8", errors="replace")
    except OSError as error:
        raise HostUnavailable(
            f"log file '{path}' cannot be written to: {error.strerror}",
            hint="name another one by the key 'log_file'",
        ) from error


def _formatter(config: Config) -> logging.Formatter:
    if config.log_format == "json":
        return JsonLines()
    if config.log == "stderr" and "JOURNAL_STREAM" in os.environ:
        return Prioritised("%(name)s: %(message)s")
    return Indented("%(asctime)s %(levelname)s %(name)s: %(message)s")
