"""Containers: made as clones of snapshots, listed, inspected, stopped, changed, removed."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from signal import SIGKILL
from typing import Any

import msgspec

from kleene import names
from kleene.build.signals import signal_name, signal_number
from kleene.engine import health, lookup, settings
from kleene.engine.core import Core, iso_time, now
from kleene.engine.endpoints import Endpoints
from kleene.engine.filters import Words
from kleene.engine.lifecycle import Lifecycle, jail_params
from kleene.engine.pruning import prune
from kleene.engine.step_config import as_of
from kleene.engine.volumes import Volumes, anonymous_mounts, kept_anonymous
from kleene.errors import Conflict, InvalidInput, KleeneError
from kleene.metadata.containers import ContainerRecord
from kleene.metadata.images import ImageRecord
from kleene.schemas.common import IdResponse
from kleene.schemas.containers import (
    Container,
    ContainerConfig,
    ContainerInspect,
    ContainerProcess,
    ContainerSummary,
    MountPoint,
    MountPointConfig,
)
from kleene.schemas.settings import ContainerSettings
from kleene.storage.driver import Snapshot

ProcessList = list[ContainerProcess]  # the class has a method ``list``
StringList = list[str]
Records = list[ContainerRecord]

_EARLY = 10.0  # seconds that a container brought up early waits for its first process

DEFAULT_GRACE = 10.0
"""Seconds between the request to end and the kill, as Docker has it."""


class Containers:
    """All that can be done with containers but running processes in them."""

    def __init__(
        self, core: Core, lifecycle: Lifecycle, endpoints: Endpoints, volumes: Volumes
    ) -> None:
        self._core = core
        self._lifecycle = lifecycle
        self._endpoints = endpoints
        self._volumes = volumes
        self._store = core.containers
        lifecycle.after_stop.append(self.after_stop)

    async def create(self, config: ContainerConfig) -> IdResponse:
        """Clone a container from an image; its id, and what of a step it cannot have.

        Raises:
            InvalidInput, NotFound, Conflict: the configuration cannot be used; nothing is left behind.
        """
        if not config.image:
            raise InvalidInput("no image was named", hint="name one: klee run IMAGE")
        image, snapshot = lookup.image(self._core.images, config.image)
        image = as_of(self._core.images, image, snapshot, config.step)
        record = replace(await self.describe(config, image), snapshot=snapshot.id)
        own = anonymous_mounts(record, image.settings.volumes)
        record = replace(record, mounts=[*record.mounts, *own], snapshot=snapshot.id)
        async with contextlib.AsyncExitStack() as undo:
            self._insert(record)
            undo.callback(self._store.containers.delete, record.id)
            storage = self._core.platform.storage
            undo.push_async_callback(storage.destroy, record.dataset)
            await storage.clone(Snapshot(snapshot.dataset, snapshot.id), record.dataset)
            undo.push_async_callback(self._volumes.remove_anonymous, record)
            await self._volumes.prepare(record)
            undo.callback(self._lifecycle.shells.forget, record.id)
            notes = await self._lifecycle.shells.want(record.id, image, config)
            self._store.containers.update(record.id, state="ready")
            undo.pop_all()
        self._core.events.of_container("create", record)
        if config.start_soon:
            self._core.background(self._bring_up_early(record.id), f"bring up {record.id}")
        return IdResponse(record.id, notes)

    async def _bring_up_early(self, container: str) -> None:
        """Have a container up before its process is asked for; take it down if none comes."""
        async with self._lifecycle.lock(container):
            record = self._store.containers.get(container)
            if record is None or record.state != "ready" or record.running:
                return
            with contextlib.suppress(KleeneError):  # told to who starts it
                await self._lifecycle.bring_up(record)
        await asyncio.sleep(_EARLY)
        async with self._lifecycle.lock(container):
            await self._lifecycle.take_down_if_empty(record)

    async def describe(self, config: ContainerConfig, image: ImageRecord) -> ContainerRecord:
        """The record of a container that is not made yet, everything in it checked."""
        container_id = names.new_id()
        if config.name:
            name = names.check_container_name(config.name)
        else:
            name = names.invent_container_name(self._store.names())
        driver = config.network_driver or "ipnet"
        params = config.jail_param or []
        self._core.platform.runtime.check_jail_params(jail_params(params))
        wanted = settings.of_new(config, image.settings)
        settings.check_driver(wanted, driver)
        self._check(wanted, config.restart_policy or "no", auto_remove=bool(config.auto_remove))
        ports = await self._endpoints.resolve_ports(config.public_ports or [], driver, container_id)
        return ContainerRecord(
            id=container_id,
            name=name,
            state="making",
            image_id=image.id,
            image_name=image.name or "",
            image_tag=image.tag or "",
            dataset=f"container/{container_id}",
            created=now(),
            running=False,
            cmd=list(config.cmd or (image.cmd if config.entrypoint is None else [])),
            env=lookup.merge_environment(image.env, config.env or []),
            user=config.user or image.user,
            workdir=checked_workdir(config.workdir) or image.workdir,
            jail_param=params,
            network_driver=driver,
            persist=bool(config.persist),
            restart_policy=config.restart_policy or "no",
            auto_remove=bool(config.auto_remove),
            mounts=[_checked_mount(mount) for mount in config.mounts or []],
            ports=ports,
            exit_code=None,
            entrypoint=list(
                image.settings.entrypoint if config.entrypoint is None else config.entrypoint
            ),
            stop_signal=settings.stop_signal(config.stop_signal or image.settings.stop_signal),
            settings=wanted,
        )

    def _check(self, wanted: ContainerSettings, policy: str, *, auto_remove: bool) -> None:
        """See that settings fit this host and each other."""
        self._core.platform.runtime.check_options(settings.options(wanted))
        settings.check_policy(policy, wanted, auto_remove=auto_remove)
        self._lifecycle.files.check(wanted)

    def _insert(self, record: ContainerRecord) -> None:
        try:
            self._store.containers.insert(record)
        except sqlite3.IntegrityError as error:
            raise _name_taken(record.name) from error

    async def _summary(self, record: ContainerRecord) -> ContainerSummary:
        runtime = self._core.platform.runtime
        return ContainerSummary(
            **self._fields(record),
            image_name=record.image_name,
            image_tag=record.image_tag,
            jid=await runtime.init_pid(record.id) if record.running else None,
            networks=self._endpoints.network_names(record),
            mounts=[
                f"{m.source}:{m.destination}{':ro' if m.read_only else ''}" for m in record.mounts
            ],
        )

    def _fields(self, record: ContainerRecord, *, log: bool = False) -> dict[str, Any]:
        return {
            "id": record.id,
            "name": record.name,
            "image_id": record.image_id,
            "dataset": self._core.platform.storage.host_name(record.dataset),
            "created": record.created,
            "running": record.running,
            "cmd": record.cmd,
            "env": record.env,
            "user": record.user,
            "jail_param": record.jail_param,
            "network_driver": record.network_driver,
            "persist": record.persist,
            "public_ports": self._endpoints.published(record),
            "restart_policy": record.restart_policy,
            "exit_code": record.exit_code,
            "auto_remove": record.auto_remove,
            "entrypoint": record.entrypoint,
            "stop_signal": record.stop_signal,
            "workdir": record.workdir or "/",
            "started": record.started,
            "finished": record.finished,
            "restart_count": record.restart_count,
            "restarting": record.wanted and record.id in self._lifecycle.restarting,
            "health": health.shown(self._core, record, log=log),
            **msgspec.structs.asdict(record.settings),
            "snapshot": record.snapshot,
        }

    async def inspect(self, reference: str) -> ContainerInspect:
        """All that is known of a container."""
        record = lookup.container(self._store, reference)
        return ContainerInspect(
            container=Container(**self._fields(record, log=True)),
            container_endpoints=self._endpoints.of_container(record),
            container_mountpoints=[
                MountPoint(record.id, m.type, m.source, m.destination, m.read_only)
                for m in record.mounts
            ],
        )

    async def stop(self, reference: str, *, timeout: float | None = None) -> str:  # noqa: ASYNC109
        """Ask every process to end, and kill what is left after ``timeout`` seconds; ``None`` is as long
        as the container is given.

        A container that does not run is left as it is, and no restart policy starts it any more.
        """
        record = lookup.container(self._store, reference)
        if timeout is None:
            timeout = record.settings.stop_timeout
        async with self._lifecycle.lock(record.id):
            self._store.containers.update(record.id, wanted=False)
            if self._is_running(record):
                await self._stop(record, DEFAULT_GRACE if timeout is None else timeout)
        return record.id

    async def kill(self, reference: str, signal: str = "SIGKILL") -> str:
        """Send every process of a container a signal, by its name or number. After one that ends it, no
        restart policy starts it any more.

        Raises:
            InvalidInput: there is no such signal.
            Conflict: the container does not run.
        """
        record = self._running(reference)
        name = signal_name(signal)
        if name is None:
            raise InvalidInput(
                f"no such signal: '{signal}'", hint="write it as SIGTERM, TERM or 15"
            )
        number = signal_number(name)
        if number in (SIGKILL, signal_number(record.stop_signal)):
            self._store.containers.update(record.id, wanted=False)
        await self._core.platform.runtime.signal_all(record.id, number)
        self._core.events.of_container("kill", record, signal=name)
        return record.id

    async def top(self, reference: str) -> ProcessList:
        """The processes of a container.

        Raises:
            Conflict: it does not run.
        """
        record = self._running(reference)
        found = await self._core.platform.runtime.top(record.id)
        return [
            ContainerProcess(
                pid=process.inner_pid,
                ppid=process.inner_parent,
                host_pid=process.pid,
                user=process.user,
                started=iso_time(process.started / 1e9),
                cpu_seconds=process.cpu / 1e9,
                command=list(process.args),
            )
            for process in found
        ]

    def _running(self, reference: str) -> ContainerRecord:
        record = lookup.container(self._store, reference)
        if not record.running:
            raise Conflict(
                f"container '{record.name}' is not running",
                hint=f"start it first: klee start {record.name}",
            )
        return record

    def _is_running(self, record: ContainerRecord) -> bool:
        present = self._store.containers.get(record.id)
        return present is not None and present.running

    async def _stop(self, record: ContainerRecord, grace: float) -> None:
        runtime = self._core.platform.runtime
        if grace > 0:
            await runtime.signal_all(record.id, signal_number(record.stop_signal))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await runtime.wait_empty(record.id)
        await self._lifecycle.take_down(record)
        self._core.events.of_container("stop", record)

    async def remove(self, reference: str, *, force: bool = False) -> str:
        """Remove a container with its file system and logs; with ``force`` even if it runs.

        Raises:
            Conflict: it runs.
        """
        record = lookup.container(self._store, reference)
        async with self._lifecycle.lock(record.id):
            if self._is_running(record):
                if not force:
                    raise Conflict(
                        f"container '{record.name}' is running",
                        hint=f"stop it first: klee stop {record.name}, or use klee rmc -f",
                    )
                await self._lifecycle.take_down(record)
            await self.destroy(record)
        return record.id

    async def destroy(self, record: ContainerRecord) -> None:
        """Take away all of a container that is down. It is out of sight before anything is lost."""
        if not self._store.put_out_of_sight(record.id):
            return
        await self._core.platform.runtime.forget(record.id)
        if not record.is_build:
            await self._core.platform.storage.destroy(record.dataset)
            await self._volumes.remove_anonymous(record)
        self._store.containers.delete(record.id)
        self._lifecycle.shells.forget(record.id)
        self._core.events.of_container("remove", record)

    async def after_stop(self, record: ContainerRecord) -> None:
        """What follows when a container has gone down: its removal, if it was marked for that."""
        async with self._lifecycle.lock(record.id):
            present = self._store.containers.get(record.id)
            if present is not None and present.state == "removing":
                await self.destroy(present)

    async def prune(self, filters: Words = ()) -> list[str]:
        """Remove every container that does not run, is not persistent and fits the filters; their ids."""
        stopped = (r for r in self._store.ready() if not r.running and not r.persist)
        return await prune(stopped, filters, lambda record: self.remove(record.id))

    async def update(self, reference: str, config: ContainerConfig) -> IdResponse:
        """Change what is not ``None`` in ``config``; ``image`` is ignored.

        Limits of control groups are changed at once, where the kernel allows it. What else is given to
        processes or to the kernel when a container starts takes effect at its next start; the answer says so.

        Raises:
            InvalidInput: names what cannot be used.
            Conflict: the name is taken, or the network driver does not fit its networks.
        """
        record = lookup.container(self._store, reference)
        async with self._lifecycle.lock(record.id):
            changes = await self._changes(record, config)
            try:
                if changes:
                    self._store.containers.update(record.id, **changes)
            except sqlite3.IntegrityError as error:
                raise _name_taken(str(config.name)) from error
            if changes:
                self._core.events.of_container("update", record, changed=",".join(sorted(changes)))
            if "ports" in changes:
                await self._endpoints.refresh_firewall()
            notes = await self._change_live(record, changes) if self._is_running(record) else []
        return IdResponse(record.id, notes)

    async def _change_live(
        self, record: ContainerRecord, changes: Mapping[str, object]
    ) -> StringList:
        """Change what a running container can be changed in; notes of the rest."""
        notes = settings.notes(record, changes)
        new = changes.get("settings")
        if isinstance(new, ContainerSettings):
            if new.healthcheck != record.settings.healthcheck:
                for hook in self._lifecycle.on_up:
                    hook(record)
            limits = settings.limits(new)
            if limits != settings.limits(record.settings):
                notes += await self._core.platform.runtime.limit(record.id, limits)
        return notes

    async def _changes(self, record: ContainerRecord, config: ContainerConfig) -> dict[str, object]:
        changes: dict[str, object] = {
            "cmd": config.cmd,
            "user": config.user,
            "jail_param": config.jail_param,
            "network_driver": config.network_driver,
            "persist": config.persist,
            "restart_policy": config.restart_policy,
            "auto_remove": config.auto_remove,
            "entrypoint": config.entrypoint,
            "workdir": checked_workdir(config.workdir),
            "settings": self._changed_settings(record, config),
        }
        if config.stop_signal is not None:
            changes["stop_signal"] = settings.stop_signal(config.stop_signal)
        if config.name is not None:
            changes["name"] = names.check_container_name(config.name)
        if config.env is not None:
            changes["env"] = lookup.merge_environment(config.env)
        if config.jail_param is not None:
            self._core.platform.runtime.check_jail_params(jail_params(config.jail_param))
        driver = config.network_driver or record.network_driver
        self._endpoints.check_driver(record, driver)
        if config.public_ports is not None:
            changes["ports"] = await self._endpoints.resolve_ports(
                config.public_ports, driver, record.id
            )
        if config.mounts is not None:
            mounts = [_checked_mount(mount) for mount in config.mounts]
            changes["mounts"] = [*mounts, *kept_anonymous(record, mounts)]
            await self._volumes.prepare(replace(record, mounts=mounts))
        return {name: value for name, value in changes.items() if value is not None}

    def _changed_settings(
        self, record: ContainerRecord, config: ContainerConfig
    ) -> ContainerSettings | None:
        """The settings after a change; ``None`` if it changes none."""
        policy = config.restart_policy or record.restart_policy
        if config.restart_policy is not None and config.restart_retries is None:
            config = msgspec.structs.replace(config, restart_retries=0)
        new = settings.of_changed(record.settings, config)
        settings.check_driver(new, config.network_driver or record.network_driver)
        remove = record.auto_remove if config.auto_remove is None else config.auto_remove
        self._check(new, policy, auto_remove=remove)
        return new if new != record.settings else None

    async def list(
        self,
        all: bool,  # noqa: A002 - the API's word
        choose: Callable[[Records], Records] = lambda records: records,
    ) -> list[ContainerSummary]:
        """Summaries; only of those that run unless ``all``, and of these of those that ``choose`` leaves."""
        return [await self._summary(r) for r in choose(self._store.ready(running_only=not all))]


def _name_taken(name: str) -> Conflict:
    return Conflict(
        f"container name '{name}' is taken",
        hint=f"choose another, or remove that container: klee rmc {name}",
    )


def checked_workdir(path: str | None) -> str | None:
    """A working directory; ``None`` if none was named."""
    if not path:
        return None
    if not path.startswith("/") or "\0" in path:
        raise InvalidInput(f"working directory '{path}' is not absolute", hint="begin it with '/'")
    return path


def _checked_mount(mount: MountPointConfig) -> MountPointConfig:
    parts = mount.destination.split("/")
    if not mount.destination.startswith("/") or ".." in parts or mount.destination.strip("/") == "":
        raise InvalidInput(
            f"mount destination '{mount.destination}' is not an absolute path below '/'",
            hint="write -m SOURCE:/PATH/IN/THE/CONTAINER[:rw|ro]",
        )
    if mount.type == "volume" and "/" in mount.source:
        raise InvalidInput(
            f"mount source '{mount.source}' is a relative path",
            hint="write the whole path of the host's file or directory, or ./ before it;"
            " a volume's name has no '/'",
        )
    if mount.type == "volume":
        names.check_object_name("volume", mount.source)
    elif not mount.source.startswith("/") or "\0" in mount.source:
        raise InvalidInput(
            f"mount source '{mount.source}' is not an absolute path",
            hint="write the whole path of the host's file or directory",
        )
    return mount
