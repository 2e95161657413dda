"""Restart policies: containers that start again by themselves, while the daemon runs and when it starts.

A user's stop is final: the metadata says whether a container is *wanted*, and a policy starts only what is.
Only the row outlives the daemon; how long to wait before the next restart begins anew with it.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from kleene.engine.core import Core, log
from kleene.engine.execs import Execs
from kleene.engine.lifecycle import Lifecycle
from kleene.errors import Conflict, KleeneError, NotFound
from kleene.metadata.containers import ContainerRecord
from kleene.schemas.execs import ExecConfig

_FIRST, _LONGEST = 0.1, 60.0
_GOOD_RUN = 10.0
"""Seconds after which a run counts as a good one: what follows it waits as little as the first restart."""


def delay(bad_runs: int) -> float:
    """Seconds before a restart after so many short runs in a row."""
    return float(min(_FIRST * 2 ** min(bad_runs, 16), _LONGEST))


def is_due(record: ContainerRecord) -> bool:
    """Whether a container that went down by itself is to be started again."""
    if not record.wanted:
        return False
    if record.restart_policy == "on-failure":
        return record.exit_code != 0 and _may_retry(record)
    return record.restart_policy in ("always", "unless-stopped")


def starts_with_daemon(record: ContainerRecord, *, interrupted: bool) -> bool:
    """Whether a container that does not run is to be started when the daemon starts.

    Args:
        interrupted: it ran when the host went down: how it would have ended nobody knows.
    """
    match record.restart_policy:
        case "on-startup" | "always":
            return True
        case "unless-stopped":
            return record.wanted
        case "on-failure":
            failed = interrupted or record.exit_code not in (0, None)
            return record.wanted and failed and _may_retry(record)
        case _:
            return False


def _may_retry(record: ContainerRecord) -> bool:
    retries = record.settings.restart_retries
    return not retries or record.restart_count < retries


def _seconds(record: ContainerRecord) -> float:
    """How long a container ran last."""
    if not record.started or not record.finished:
        return 0
    began, ended = (datetime.fromisoformat(text) for text in (record.started, record.finished))
    return (ended - began).total_seconds()


class Restarts:
    """Starts what its policy wants started."""

    def __init__(self, core: Core, lifecycle: Lifecycle, execs: Execs) -> None:
        self._core = core
        self._lifecycle = lifecycle
        self._execs = execs
        self._bad_runs: dict[str, int] = {}
        lifecycle.after_stop.append(self._after_stop)

    async def _after_stop(self, stopped: ContainerRecord) -> None:
        record = self._get(stopped.id)
        if record is None or record.running:
            return
        if not is_due(record):
            self._bad_runs.pop(record.id, None)
            return
        if _seconds(record) >= _GOOD_RUN:
            self._bad_runs.pop(record.id, None)
        self._schedule(record)

    def _get(self, container: str) -> ContainerRecord | None:
        record = self._core.containers.containers.get(container)
        return record if record is not None and record.state == "ready" else None

    def _schedule(self, record: ContainerRecord) -> None:
        bad = self._bad_runs.get(record.id, 0)
        self._bad_runs[record.id] = bad + 1
        self._lifecycle.restarting.add(record.id)
        self._core.background(self._restart(record.id, delay(bad)), f"restart {record.id}")

    async def _restart(self, container: str, pause: float) -> None:
        await asyncio.sleep(pause)
        self._lifecycle.restarting.discard(container)
        record = self._get(container)
        if record is None or record.running or not record.wanted:
            return
        count = record.restart_count + 1
        self._core.containers.containers.update(container, restart_count=count)
        self._core.events.emit("container", "restart", container, record.name, count=count)
        if not await self._start(record) and (again := self._get(container)) and is_due(again):
            self._schedule(again)

    async def _start(self, record: ContainerRecord) -> bool:
        """Start the container's command; false if that is not possible just now."""
        try:
            exec_id = await self._execs.create(ExecConfig(record.id, stdin=False))
            await self._execs.start(exec_id, attach=False, start_container=True, automatic=True)
        except (Conflict, NotFound):  # a user was faster
            return True
        except KleeneError as error:
            log.warning("container %s cannot be started again: %s", record.name, error.message)
            return False
        return True

    async def start_all(self, interrupted: set[str], adopted: set[str]) -> None:
        """Start what is to run when the daemon starts.

        Args:
            interrupted: ids of containers that ran when the host went down.
            adopted: ids of those that were found up: if they end, or have ended, it is a restart.
        """
        for record in self._core.containers.ready():
            if record.id in adopted:
                continue
            again = starts_with_daemon(record, interrupted=record.id in interrupted)
            if not record.running and again:
                # Otherwise an earlier stop by the user would be taken for one after this start.
                self._core.containers.containers.update(record.id, wanted=True)
                if not await self._start(record) and record.restart_policy != "on-startup":
                    self._schedule(record)
