"""Records and rows: a frozen dataclass a table, its fields the columns.

Lists, mappings and structs are stored as JSON and truth values as 0 and 1; everything else as it is. Column
names come from the dataclass alone, never from outside.
"""

from __future__ import annotations

import dataclasses
import sqlite3
import typing
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from kleene.metadata.database import Database, Value

Record = TypeVar("Record")


class Table(Generic[Record]):
    """The rows of one table as records; the first field is the primary key."""

    def __init__(self, database: Database, name: str, record: type[Record]) -> None:
        self._database = database
        self._name = name
        self._record = record
        self._types = typing.get_type_hints(record)
        self._columns = [f.name for f in dataclasses.fields(record)]  # type: ignore[arg-type]
        self._key = self._columns[0]

    def insert(self, record: Record) -> None:
        """Add a row.

        Raises:
            sqlite3.IntegrityError: a constraint forbids it.
        """
        marks = ", ".join("?" for _ in self._columns)
        values = [_encode(getattr(record, column)) for column in self._columns]
        self._database.execute(
            f"INSERT INTO {self._name} ({', '.join(self._columns)}) VALUES ({marks})", values
        )

    def get(self, key: str) -> Record | None:
        """The row of this key."""
        found = self.where(f"{self._key} = ?", [key])
        return found[0] if found else None

    def where(self, condition: str = "1", parameters: Sequence[Value] = ()) -> list[Record]:
        """The rows that fit, in the order of their making."""
        return self.select(f"{condition} ORDER BY rowid", parameters)

    def select(self, condition: str, parameters: Sequence[Value]) -> list[Record]:
        """The rows that fit, in an order and up to a number that ``condition`` goes on to say."""
        sql = f"SELECT * FROM {self._name} WHERE {condition}"
        return [self._decode(row) for row in self._database.query(sql, parameters)]

    def update(self, key: str, **values: object) -> bool:
        """Change columns of one row; whether there is such a row."""
        unknown = values.keys() - set(self._columns)
        assert not unknown, unknown
        assignments = ", ".join(f"{column} = ?" for column in values)
        parameters = [*map(_encode, values.values()), key]
        sql = f"UPDATE {self._name} SET {assignments} WHERE {self._key} = ?"
        return self._database.execute(sql, parameters) == 1

    def delete(self, key: str) -> bool:
        """Take one row away, and what hangs on it; whether there was one."""
        sql = f"DELETE FROM {self._name} WHERE {self._key} = ?"
        return self._database.execute(sql, [key]) == 1

    def _decode(self, row: sqlite3.Row) -> Record:
        values: dict[str, Any] = {}
        for column in self._columns:
            kind, value = self._types[column], row[column]
            if typing.get_origin(kind) in (list, dict) or _is_struct(kind):
                value = msgspec.json.decode(value, type=kind)
            elif kind is bool:
                value = bool(value)
            values[column] = value
        return self._record(**values)


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _encode(value: object) -> Value:
    if isinstance(value, list | dict | msgspec.Struct):
        return msgspec.json.encode(value).decode()
    if isinstance(value, bool):
        return int(value)
    assert value is None or isinstance(value, str | int | float)
    return value
