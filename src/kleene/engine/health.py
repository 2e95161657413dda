"""Health checks: processes that the daemon starts in a container to ask whether it is well.

A task for each container that has a check and is up; it sleeps between two checks. A check is a plain
process of the runtime, without a keeper: what hangs is killed with all that it started, and it keeps no
container up. What is found out is in memory; a change of it is in the metadata too, so that a new daemon goes
on from there.
"""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime

from kleene import names
from kleene.engine.core import Core, now
from kleene.engine.health_state import after, pause, timeout
from kleene.engine.lifecycle import Lifecycle
from kleene.errors import KleeneError
from kleene.metadata.containers import ContainerRecord
from kleene.runtime.driver import Process, ProcessSpec
from kleene.schemas.settings import Health, HealthCheck, HealthResult

_OUTPUT = 4096
"""Bytes of a check's output that are kept."""

_AT_ONCE = 2
"""Checks that may be starting at the same time: that is what takes processor time, 50 ms or so."""


class HealthChecks:
    """Watches the containers that are up."""

    def __init__(self, core: Core, lifecycle: Lifecycle) -> None:
        self._core = core
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._starting = asyncio.Semaphore(_AT_ONCE)
        lifecycle.on_up.append(self.begin)
        lifecycle.after_stop.append(self._forget)

    def begin(self, container: ContainerRecord) -> None:
        """Check a container from now on, as its settings are now."""
        if (task := self._tasks.pop(container.id, None)) is not None:
            task.cancel()
        record = self._core.containers.containers.get(container.id)
        if record is None or record.is_build or record.settings.healthcheck is None:
            self._core.health.pop(container.id, None)
            return
        self._core.health[record.id] = record.health
        watching = self._watch(record.id, record.started)
        self._tasks[record.id] = self._core.background(watching, f"health of {record.id}")

    async def _forget(self, record: ContainerRecord) -> None:
        present = self._core.containers.containers.get(record.id)
        if present is None or not present.running:
            self._core.health.pop(record.id, None)
            if (task := self._tasks.pop(record.id, None)) is not None:
                task.cancel()

    async def _watch(self, container: str, started: str) -> None:
        """Check again and again, until this run of the container is over."""
        while (record := self._of_run(container, started)) is not None:
            check = record.settings.healthcheck
            if check is None:
                return
            age = _seconds_since(started)
            await asyncio.sleep(pause(check, self._core.health[container], age))
            if await self._core.platform.runtime.processes(container):
                result = await self._check(record, check)
                if self._of_run(container, started) is not None:
                    self._note(container, result, check, _seconds_since(started))

    def _of_run(self, container: str, started: str) -> ContainerRecord | None:
        record = self._core.containers.containers.get(container)
        if record is None or not record.running or record.started != started:
            return None
        return record

    def _note(self, container: str, result: HealthResult, check: HealthCheck, age: float) -> None:
        before = self._core.health[container]
        health = self._core.health[container] = after(before, result, check, age)
        if (health.status, health.failures) != (before.status, before.failures):
            self._core.containers.containers.update(container, health=health)
        if health.status != before.status:
            record = self._core.containers.containers.get(container)
            name = record.name if record is not None else ""
            events = self._core.events
            events.emit("container", "health", container, name, status=health.status)

    async def _check(self, record: ContainerRecord, check: HealthCheck) -> HealthResult:
        began, limit = now(), timeout(check)
        output = bytearray()
        code: int | None = None
        try:
            process = await self._start(record, check)
            code = await _finish(process, output, limit)
        except TimeoutError:
            output += f"\nnot ended within {limit:g} seconds".encode()
        except KleeneError as error:
            output += error.message.encode()
        text = bytes(output[:_OUTPUT]).decode(errors="replace").strip()
        return HealthResult(began, now(), code, text)

    async def _start(self, record: ContainerRecord, check: HealthCheck) -> Process:
        spec = ProcessSpec(check.test, record.env, record.workdir or "/", record.user)
        runtime = self._core.platform.runtime
        async with self._starting:
            return await runtime.exec_build(record.id, names.new_id(), spec, alone=True)


async def _finish(process: Process, output: bytearray, limit: float) -> int:
    """Read what a process writes, to its end; its exit status.

    Raises:
        TimeoutError: it did not end in time, and was killed.
    """
    try:
        async with asyncio.timeout(limit):
            async for part in process.output():
                if len(output) < _OUTPUT:
                    output += part.data
            return await process.wait()
    except BaseException:
        await process.signal(signal.SIGKILL)
        raise


def _seconds_since(moment: str) -> float:
    if not moment:
        return 0
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def shown(core: Core, record: ContainerRecord, *, log: bool) -> Health | None:
    """How a container is, for people; ``None`` if it does not run or has no check.

    Args:
        log: with the last results.
    """
    if not record.running or record.settings.healthcheck is None:
        return None
    health = core.health.get(record.id, record.health)
    return health if log else Health(health.status, health.failures)
