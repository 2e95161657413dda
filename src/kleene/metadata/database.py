"""The database: one file, one connection, one writer. It lasts as long as the data directory.

Called from the event loop's thread, without a thread of its own: a commit takes half a millisecond
(``python -m bench.metadata``), less than handing it over would. Write-ahead log with ``synchronous=FULL``:
what was committed survives a power cut (https://sqlite.org/pragma.html#pragma_synchronous), but for what
:meth:`Database.unhurried` says.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from kleene.errors import HostUnavailable
from kleene.metadata.migrations import MIGRATIONS

Value = str | int | float | bytes | None


class Database:
    """An open database whose schema is up to date."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._depth = 0

    @classmethod
    def open(cls, path: Path) -> Database:
        """Open or make the database at ``path`` and bring its schema up to date.

        Raises:
            HostUnavailable: the file is no database, or was written by a newer Kleene.
        """
        try:
            connection = sqlite3.connect(path, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            _migrate(connection, path)
        except sqlite3.DatabaseError as error:
            raise HostUnavailable(
                f"metadata '{path}' cannot be opened: {error}",
                hint="restore the file from a backup, or move it away to begin anew",
            ) from error
        return cls(connection)

    def close(self) -> None:
        self._connection.close()

    def query(self, sql: str, parameters: Sequence[Value] = ()) -> list[sqlite3.Row]:
        """All rows of a SELECT."""
        return self._connection.execute(sql, parameters).fetchall()

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        """Run one statement that changes rows; how many it changed.

        Raises:
            sqlite3.IntegrityError: a constraint forbids it.
            HostUnavailable: it cannot be written.
        """
        try:
            return self._connection.execute(sql, parameters).rowcount
        except sqlite3.OperationalError as error:
            raise _told(error) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Must not be held over an ``await``; inner ones join the outermost."""
        if self._depth:
            yield
            return
        self.execute("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has ended it already
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._depth = 0

    @contextlib.contextmanager
    def unhurried(self) -> Iterator[None]:
        """Commits in here reach the disk with the next commit outside, at the latest: that saves 0.4 ms each.

        For rows that mean nothing until such a commit says so. A power cut before it takes them away, the
        newest first, and leaves the database whole. Must not be held over an ``await``. In a transaction it
        changes nothing.
        """
        if self._depth:
            yield
            return
        self._connection.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA synchronous = FULL")


def _told(error: sqlite3.OperationalError) -> Exception:
    """The error in the user's words, if it is about the disk (https://sqlite.org/rescode.html)."""
    code = error.sqlite_errorcode & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return HostUnavailable(
            "the metadata cannot be written: the disk with the data directory is full",
            hint="free space on it: klee image prune -a, or delete other files there",
        )
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
        return HostUnavailable(
            f"the metadata cannot be written: {error}", hint="the kernel's log says why: dmesg"
        )
    return error


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise HostUnavailable(
            f"metadata '{path}' was written by a newer Kleene",
            hint="install the version that wrote it, or a later one",
        )
    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {step}; PRAGMA user_version = {number}; COMMIT")
