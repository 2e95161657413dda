"""A terminal, or a pair of pipes, connected to a process in a container until the process ends.

One loop waits on standard input, on the stream and on signals. SIGINT, SIGTERM and SIGQUIT are passed on to
the process once; the second of one ends the attachment by KeyboardInterrupt and leaves the process running.
SIGUSR1 and SIGUSR2 are always passed on. The terminal's mode and the signal handlers are restored on every
way out.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from kleene.client.detach import DetachKeys
from kleene.client.streams import Output, Stream
from kleene.client.terminal import RawMode, size_of
from kleene.schemas.constants import STDERR

_CHUNK = 65536
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
_PASSED_ON = (*_ENDING, signal.SIGUSR1, signal.SIGUSR2)


class Hangup(Exception):
    """The user's terminal went away."""


def attach(
    stream: Stream, *, interactive: bool, tty: bool, pass_signals: bool = True
) -> dict[str, Any]:
    """Connect this process's standard streams to the process behind ``stream``.

    Args:
        interactive: pass on standard input.
        tty: the process has a terminal: make ours raw (with ``interactive``), pass on its size.
        pass_signals: else the first one ends the attachment already.

    Returns:
        The last message of the stream, ``closing`` or ``failed``.

    Raises:
        KeyboardInterrupt: the user insisted.
        Detached: the user typed the keys for that, in a terminal.
        Hangup: the terminal went away.
        BrokenPipeError: nobody reads standard output.
        DaemonUnreachable: the stream broke.
    """
    raw = RawMode(_STDIN) if interactive and tty else None
    with _Signals(tty, pass_on=pass_signals) as signals, raw or contextlib.nullcontext():
        return _Attachment(stream, signals, raw, interactive=interactive, tty=tty).run()


class _Signals:
    """Signals as bytes on a descriptor (``signal.set_wakeup_fd``), while entered."""

    def __init__(self, tty: bool, *, pass_on: bool) -> None:
        self._wanted = [*(_PASSED_ON if pass_on else _ENDING), signal.SIGHUP]
        if tty:
            self._wanted += [signal.SIGWINCH, signal.SIGCONT]
        self._passed_on: set[int] = set() if pass_on else set(_ENDING)

    def __enter__(self) -> _Signals:
        self.descriptor, self._write = os.pipe()
        for end in (self.descriptor, self._write):
            os.set_blocking(end, False)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = [(s, signal.signal(s, self._note)) for s in self._wanted]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self.descriptor)
        os.close(self._write)

    def _note(self, number: int, frame: FrameType | None) -> None:
        # Raised from here, it also ends a write to a terminal that nobody reads.
        if number == signal.SIGHUP:
            raise Hangup
        if number in _ENDING and number in self._passed_on:
            raise KeyboardInterrupt
        self._passed_on.add(number)

    def read(self) -> Iterator[signal.Signals]:
        """The signals that arrived since the last call."""
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self.descriptor, _CHUNK):
                yield signal.Signals(number)


class _Attachment:
    """The loop's state: which of its sources are still open."""

    def __init__(
        self,
        stream: Stream,
        signals: _Signals,
        raw: RawMode | None,
        *,
        interactive: bool,
        tty: bool,
    ) -> None:
        self._stream = stream
        self._signals = signals
        self._raw = raw
        self._keys = None if raw is None else DetachKeys()
        self._tty = tty
        self._input_open = interactive
        self._last: dict[str, Any] | None = None

    def run(self) -> dict[str, Any]:
        while self._last is None:
            for descriptor in self._ready():
                if descriptor == self._signals.descriptor:
                    self._pass_on_signals()
                elif descriptor == self._stream.fileno():
                    self._move_output()
                else:
                    self._move_input()
        return self._last

    def _ready(self) -> list[int]:
        poll = select.poll()
        poll.register(self._signals.descriptor, select.POLLIN)
        # Input is read only when the daemon has taken what was read before.
        writing = select.POLLOUT if self._stream.backlog else 0
        poll.register(self._stream.fileno(), select.POLLIN | writing)
        if self._input_open and not writing:
            poll.register(_STDIN, select.POLLIN)
        return [descriptor for descriptor, _ in poll.poll()]

    def _move_input(self) -> None:
        try:
            data = os.read(_STDIN, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # closed before we started, or a terminal that went away
        if data:
            self._stream.write(data if self._keys is None else self._keys.feed(data))
        else:
            self._input_open = False
            self._stream.end_input()

    def _move_output(self) -> None:
        self._stream.flush()
        for event in self._stream.read():
            if isinstance(event, Output):
                write_output(event)
            elif self._stream.ended:
                self._last = event

    def _pass_on_signals(self) -> None:
        for number in self._signals.read():
            if number in _PASSED_ON:
                self._stream.signal(number.name)
            elif number == signal.SIGWINCH:
                self._pass_on_size()
            elif number == signal.SIGCONT and self._raw is not None:
                self._raw.apply()
                self._pass_on_size()

    def _pass_on_size(self) -> None:
        size = size_of(_STDOUT) or size_of(_STDIN)
        if size is not None and self._tty:
            self._stream.resize(size.rows, size.columns)


def write_output(output: Output) -> None:
    """Write what a process wrote to our standard output or error."""
    write_all(_STDERR if output.stream == STDERR else _STDOUT, output.data)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``, also where another program made the descriptor non-blocking."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
