"""Secrets and configs in containers: files in memory, for as long as a container is up.

A container that has any gets a tmpfs of its own below the daemon's ``run`` directory, made when it goes up
and unmounted when it goes down. It outlives the daemon, as the container does. Each file in it is bound to
its place in the container, read-only. Nothing is written to a disk: the kernel is asked not to swap it out
(tmpfs(5), ``noswap``, Linux 6.4).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from kleene.engine.core import Core
from kleene.engine.stored_files import LARGEST, Configs, Secrets
from kleene.errors import InvalidInput
from kleene.host import memoryfs
from kleene.metadata.containers import ContainerRecord
from kleene.runtime import users
from kleene.runtime.driver import Mount
from kleene.schemas.secrets import FileMount
from kleene.schemas.settings import ContainerSettings

SECRETS = "/run/secrets"

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class ProvidedFiles:
    """The files in memory of all containers."""

    def __init__(self, core: Core, secrets: Secrets, configs: Configs) -> None:
        self._core = core
        self._secrets = secrets
        self._configs = configs

    @property
    def _top(self) -> Path:
        return self._core.platform.run / "files"

    def check(self, settings: ContainerSettings) -> None:
        """See that a container can be given what its settings name.

        Raises:
            NotFound: there is no such secret or config.
            InvalidInput: two have the same place, or a place is none.
        """
        for mount in settings.secrets:
            self._secrets.get(mount.name)
        for mount in settings.configs:
            self._configs.get(mount.name)
        places = [_place(mount, top) for mount, top in _all(settings)]
        for place in places:
            if places.count(place) > 1:
                raise InvalidInput(
                    f"'{place}' is the place of two secrets or configs",
                    hint="give one of them another place",
                )

    def provide(self, record: ContainerRecord) -> list[Mount]:
        """Make the files that a container is given, and tell where they go.

        Raises:
            HostUnavailable: they cannot be made, or a secret cannot be decrypted.
        """
        wanted = list(_all(record.settings))
        if not wanted:
            return []
        self.withdraw(record.id)
        directory = self._top / record.id
        directory.mkdir(mode=0o700, parents=True)
        memoryfs.mount(directory, size=(len(wanted) + 1) * LARGEST)
        owner = self._owner(record)
        mounts = []
        for number, (mount, top) in enumerate(wanted):
            file = directory / str(number)
            secret = top == SECRETS
            content = (self._secrets if secret else self._configs).content(mount.name)
            _write(file, content, mount, owner, 0o400 if secret else 0o444)
            mounts.append(Mount(file, _place(mount, top), read_only=True))
        return mounts

    def _owner(self, record: ContainerRecord) -> tuple[int, int]:
        """The container's user; root if its files do not know who that is: starting it will tell."""
        root = self._core.platform.storage.mountpoint(record.dataset)
        try:
            identity = users.resolve(root, record.user)
        except InvalidInput:
            return 0, 0
        return identity.uid, identity.gid

    def withdraw(self, container: str) -> None:
        """Take a container's files away; nothing happens if it has none."""
        directory = self._top / container
        if directory.exists():
            memoryfs.unmount(directory)
            directory.rmdir()

    def sweep(self, keep: Collection[str]) -> None:
        """Take away the files of all containers but those that are up."""
        if self._top.exists():
            for directory in self._top.iterdir():
                if directory.name not in keep:
                    self.withdraw(directory.name)


def _all(settings: ContainerSettings) -> Iterator[tuple[FileMount, str]]:
    """What a container is given, each with the directory where it goes if nothing else is said."""
    yield from ((mount, SECRETS) for mount in settings.secrets)
    yield from ((mount, "/") for mount in settings.configs)


def _place(mount: FileMount, top: str) -> str:
    path = mount.path or posixpath.join(top, mount.name)
    if not path.startswith("/") or ".." in path.split("/") or not path.strip("/") or "\0" in path:
        raise InvalidInput(
            f"'{mount.path}' is not an absolute path below '/'",
            hint=f"write {mount.name}:/PATH/IN/THE/CONTAINER",
        )
    return posixpath.normpath(path)


def _write(file: Path, content: bytes, mount: FileMount, owner: Sequence[int], mode: int) -> None:
    fd = os.open(file, _NEW, 0o400)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        uid, gid = owner
        os.fchown(
            fd, uid if mount.uid is None else mount.uid, gid if mount.gid is None else mount.gid
        )
        os.fchmod(fd, mode if mount.mode is None else mount.mode)
    finally:
        os.close(fd)
