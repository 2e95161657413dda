"""Secrets and configs: made, listed, inspected, removed. How they reach containers: ``provided``.

Nothing here tells the content of a secret to anybody, in whatever answer, error or log.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Sequence
from typing import Literal

from kleene import names
from kleene.engine.core import Core, now
from kleene.engine.sealing import Sealer
from kleene.engine.volumes import in_use
from kleene.errors import Conflict, InvalidInput, NotFound
from kleene.metadata.containers import ContainerRecord
from kleene.metadata.stored_files import StoredFileRecord
from kleene.metadata.table import Table
from kleene.schemas.secrets import Config, ConfigInspect, FileMount, Secret, StoredFileConfig

Kind = Literal["secret", "config"]
SecretList = list[Secret]
ConfigList = list[Config]

LARGEST = 512 * 1024
"""Bytes of a secret or config: they are held in memory, in each container that has them."""


class _StoredFiles:
    """What secrets and configs have in common."""

    def __init__(self, core: Core, kind: Kind, table: Table[StoredFileRecord]) -> None:
        self._core = core
        self._kind = kind
        self._table = table

    def _insert(self, config: StoredFileConfig, data: str) -> str:
        record = StoredFileRecord(config.name, now(), config.labels, data)
        try:
            self._table.insert(record)
        except sqlite3.IntegrityError as error:
            raise self._taken(config.name) from error
        self._core.events.emit(self._kind, "create", config.name, config.name)
        return config.name

    def _checked(self, config: StoredFileConfig) -> bytes:
        """The content of what is asked for, if it can be made."""
        names.check_object_name(self._kind, config.name)
        if self._table.get(config.name) is not None:
            raise self._taken(config.name)
        names.check_labels(config.labels)
        try:
            content = base64.b64decode(config.data, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInput("field 'data' is not base64") from None
        if len(content) > LARGEST:
            raise InvalidInput(
                f"{self._kind} '{config.name}' has more than {LARGEST // 1024} KiB",
                hint="put large files into a volume",
            )
        return content

    def _taken(self, name: str) -> Conflict:
        return Conflict(
            f"{self._kind} '{name}' exists already",
            hint=f"choose another name, or remove it: klee {self._kind} rm {name}",
        )

    def get(self, name: str) -> StoredFileRecord:
        """The secret or config of this name.

        Raises:
            NotFound: there is none.
        """
        record = self._table.get(name)
        if record is None:
            near = names.nearest(name, [each.name for each in self._table.where()])
            listed = f"list what there is with 'klee {self._kind} ls', or make it: klee {self._kind} create"
            raise NotFound(
                f"no such {self._kind}: '{name}'",
                hint=f"did you mean '{near}'?" if near else f"{listed} NAME FILE",
            )
        return record

    def _users(self, name: str) -> list[ContainerRecord]:
        return [
            container
            for container in self._core.containers.present()
            if any(mount.name == name for mount in self._mounts(container))
        ]

    def _mounts(self, container: ContainerRecord) -> Sequence[FileMount]:
        settings = container.settings
        return settings.secrets if self._kind == "secret" else settings.configs

    def _user_names(self, name: str) -> list[str]:
        return sorted(user.name for user in self._users(name))

    async def remove(self, name: str) -> str:
        """Remove it; its name.

        Raises:
            Conflict: containers are given it when they start.
        """
        self.get(name)
        if users := self._users(name):
            raise in_use(f"{self._kind} '{name}'", users)
        self._table.delete(name)
        self._core.events.emit(self._kind, "remove", name, name)
        return name


class Secrets(_StoredFiles):
    """All that can be done with secrets."""

    def __init__(self, core: Core) -> None:
        super().__init__(core, "secret", core.stored_files.secrets)
        self._sealer = Sealer(core.platform.root / "secrets.key")

    async def create(self, config: StoredFileConfig) -> str:
        """Keep a secret, encrypted; its name.

        Raises:
            InvalidInput: the name or the content cannot be used.
            Conflict: there is one of this name.
            HostUnavailable: the key cannot be used.
        """
        content = self._checked(config)
        first = not self._table.where()
        return self._insert(config, self._sealer.seal(config.name, content, first=first))

    def content(self, name: str) -> bytes:
        """What only containers are given."""
        return self._sealer.open(name, self.get(name).data)

    async def inspect(self, name: str) -> Secret:
        """A secret, without its content."""
        return self._wire(self.get(name))

    async def list(self) -> SecretList:
        """All secrets, oldest first, without their content."""
        return [self._wire(record) for record in self._table.where()]

    def _wire(self, record: StoredFileRecord) -> Secret:
        return Secret(record.name, record.created, record.labels, self._user_names(record.name))


class Configs(_StoredFiles):
    """All that can be done with configs."""

    def __init__(self, core: Core) -> None:
        super().__init__(core, "config", core.stored_files.configs)

    async def create(self, config: StoredFileConfig) -> str:
        """Keep a config; its name. Errors as for :meth:`Secrets.create`."""
        content = self._checked(config)
        return self._insert(config, base64.b64encode(content).decode())

    def content(self, name: str) -> bytes:
        """What it has in it."""
        return base64.b64decode(self.get(name).data)

    async def inspect(self, name: str) -> ConfigInspect:
        """A config, with its content."""
        record = self.get(name)
        about = self._wire(record)
        return ConfigInspect(
            about.name, about.created, about.labels, about.containers, about.size, record.data
        )

    async def list(self) -> ConfigList:
        """All configs, oldest first."""
        return [self._wire(record) for record in self._table.where()]

    def _wire(self, record: StoredFileRecord) -> Config:
        return Config(
            record.name,
            record.created,
            record.labels,
            self._user_names(record.name),
            len(base64.b64decode(record.data)),
        )
