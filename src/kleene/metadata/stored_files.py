"""Secrets and configs in the metadata. Of a secret it is the encrypted content that is stored."""

from __future__ import annotations

from dataclasses import dataclass

from kleene.metadata.database import Database
from kleene.metadata.table import Table


@dataclass(frozen=True)
class StoredFileRecord:
    """A row of ``secrets`` or ``configs``. ``data``: base64."""

    name: str
    created: str
    labels: dict[str, str]
    data: str


class StoredFileStore:
    """Reads and writes of secrets and configs."""

    def __init__(self, database: Database) -> None:
        self.secrets = Table(database, "secrets", StoredFileRecord)
        self.configs = Table(database, "configs", StoredFileRecord)
