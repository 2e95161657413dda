"""What the processes of a container wrote, for somebody who asks later, or goes on listening."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime

from kleene.engine import lookup
from kleene.engine.core import Core
from kleene.engine.lifecycle import Lifecycle
from kleene.engine.times import parse_since
from kleene.host.threads import in_thread
from kleene.metadata.containers import ContainerRecord
from kleene.runtime.driver import Log, LogRecord, Output
from kleene.schemas.logs import LogsConfig

_SECOND = 1_000_000_000
_INTERVAL = 0.1
"""Seconds between two looks at logs that are followed."""

_BATCH = 1000
"""Records that are read at once: a megabyte or so of ordinary lines, 8 MiB at most."""

_NEVER = 2**63
_LARGEST_OUTPUT = 64 * 1024


class Logs:
    """The logs of all containers."""

    def __init__(self, core: Core, lifecycle: Lifecycle) -> None:
        self._core = core
        self._lifecycle = lifecycle

    async def read(self, reference: str, config: LogsConfig) -> AsyncGenerator[Output, None]:
        """The output of a container's instances, in the order of time.

        Raises:
            NotFound: no such container.
            InvalidInput: ``since`` or ``until`` is no time.
        """
        record = lookup.container(self._core.containers, reference)
        now = time.time_ns()
        since = parse_since(config.since, now)
        until = parse_since(config.until, now) if config.until else _NEVER
        log = self._core.platform.runtime.log(record.id)
        try:
            if until == _NEVER or config.tail is None:
                history = log.history(lines=config.tail, since=since)
            else:
                history = await self._last_before(record, config.tail, since, until, log)
            async for records in _batches(_before(history, until)):
                for output in render(records, timestamps=config.timestamps):
                    yield output
            if config.follow:
                async for records in self._follow(record, log, until):
                    for output in render(_before(records, until), timestamps=config.timestamps):
                        yield output
        finally:
            log.close()

    async def _last_before(
        self, record: ContainerRecord, lines: int, since: int, until: int, log: Log
    ) -> Iterator[LogRecord]:
        """The last lines before a moment: they are counted first, as none of it is kept in memory."""
        counted, total = self._core.platform.runtime.log(record.id), 0
        try:
            async for records in _batches(_before(counted.history(lines=None, since=since), until)):
                total += sum(each.begins for each in records)
        finally:
            counted.close()
        history = log.history(lines=None, since=since)
        return _from_line(history, total - lines + 1) if lines else iter(())

    async def _follow(
        self, record: ContainerRecord, log: Log, until: int
    ) -> AsyncIterator[list[LogRecord]]:
        while self._is_running(record) and time.time_ns() < until:
            if records := await in_thread(lambda _: log.news()):
                yield records
            else:
                await asyncio.sleep(_INTERVAL)
        # It is marked as stopped before the last of it is: what it wrote until then counts.
        async with self._lifecycle.lock(record.id):
            records = await in_thread(lambda _: log.news())
        yield records

    def _is_running(self, record: ContainerRecord) -> bool:
        present = self._core.containers.containers.get(record.id)
        return present is not None and present.running


def _before(records: Iterable[LogRecord], until: int) -> Iterator[LogRecord]:
    return itertools.takewhile(lambda record: record.time < until, records)


def _from_line(records: Iterable[LogRecord], number: int) -> Iterator[LogRecord]:
    """What follows the beginning of a line, counted from 1."""
    begun = itertools.count(1)
    return itertools.dropwhile(lambda record: not record.begins or next(begun) < number, records)


async def _batches(history: Iterator[LogRecord]) -> AsyncIterator[list[LogRecord]]:
    while records := await in_thread(lambda _: list(itertools.islice(history, _BATCH))):
        yield records


def render(records: Iterable[LogRecord], *, timestamps: bool) -> Iterator[Output]:
    """The bytes that were written; what follows on the same stream is put together."""
    for stream, group in itertools.groupby(records, key=lambda record: record.stream):
        data = bytearray()
        for record in group:
            if timestamps and record.begins:
                data += format_time(record.time) + b" "
            data += record.data
            if len(data) >= _LARGEST_OUTPUT:
                yield Output(stream, bytes(data))
                data.clear()
        if data:
            yield Output(stream, bytes(data))


def format_time(nanoseconds: int) -> bytes:
    """ISO 8601 in UTC, to the nanosecond."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    return datetime.fromtimestamp(seconds, UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{rest:09}Z").encode()
