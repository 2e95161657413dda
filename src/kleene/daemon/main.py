"""``kleened``: read the configuration, choose the drivers, open the engine, serve until told to stop.

Containers keep running when it ends, however it ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kleene import __version__
from kleene.daemon import log
from kleene.daemon.config import DEFAULT_FILE, DEFAULT_SOCKET, Config, load_config
from kleene.daemon.notify import notify
from kleene.daemon.sockets import check_free, listening
from kleene.daemon.tls import LiveTls, tls_context
from kleene.errors import Conflict, HostUnavailable, KleeneError

_LOCK = "kleened.lock"

_log = logging.getLogger("kleened")


def main(argv: Sequence[str] | None = None) -> None:
    """The program. Exits 0 when it was told to stop, 1 when it could not run, 2 for wrong usage."""
    options = parser().parse_args(argv)

    def load() -> Config:
        return load_config(options.config, root=options.root, hosts=options.host)

    try:
        config = load()
        for listener in config.api_listening_sockets:
            if listener.address.tls:
                tls_context(listener)
        if options.check_config:
            print("the configuration is valid")
            return
        _run(config, load)
    except KleeneError as error:
        sys.exit(_told(error))


def parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="kleened", description="The daemon of Kleene.")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"configuration file (default: {DEFAULT_FILE})"
    )
    parser.add_argument(
        "--check-config", action="store_true", help="check the configuration and exit"
    )
    parser.add_argument("--root", metavar="DIRECTORY", help="data directory, over kleene_root")
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="ADDRESS",
        help=f"listen here, over api_listening_sockets; repeatable (default: {DEFAULT_SOCKET})",
    )
    parser.add_argument("--version", action="version", version=f"kleened {__version__}")
    return parser


def _told(error: KleeneError) -> str:
    """What is printed when the daemon cannot run."""
    lines = [f"kleened: {error.message}", *(error.details or "").splitlines()]
    if error.hint:
        lines.append(f"hint: {error.hint}")
    return "\n".join(lines)


def _run(config: Config, load: Callable[[], Config]) -> None:
    if os.geteuid() != 0:
        raise HostUnavailable("kleened must run as root", hint="start it with sudo or as a service")
    log.set_up(config)
    _prefer_pidfd()
    check_free([listener.address for listener in config.api_listening_sockets])
    with locked(config.kleene_root):
        asyncio.run(_serve(config, load))


def _prefer_pidfd() -> None:
    """Learn of the end of children by pidfd_open(2). Until Python 3.12 the default is a thread for each."""
    if sys.platform == "linux" and sys.version_info < (3, 12):
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the data directory, which is made if it is missing.

    Raises:
        Conflict: another daemon holds it.
        HostUnavailable: it cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HostUnavailable(
            f"data directory '{root}' cannot be used: {error.strerror}",
            hint="choose another: kleened --root DIRECTORY",
        ) from error
    try:
        _lock(fd, root)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, root: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(fd, 20, 0).decode(errors="replace").strip()
        raise Conflict(
            f"data directory '{root}' is used by another kleened (process {holder or 'unknown'})",
            hint="stop it, or choose another directory: kleened --root DIRECTORY",
        ) from error
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)


async def _serve(config: Config, load: Callable[[], Config]) -> None:
    # Imported here, so that options and mistakes in the configuration are answered at once.
    from kleene.daemon.app import create_app
    from kleene.daemon.platforms import choose_platform
    from kleene.daemon.reload import Reloader
    from kleene.daemon.server import serve
    from kleene.daemon.streams import Streams
    from kleene.engine.engine import Engine

    stop = asyncio.Event()
    listeners = config.api_listening_sockets
    certificates = {each.address: LiveTls(each) for each in listeners if each.address.tls}
    reloader = Reloader(config, load, certificates)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reloader.reload)
    platform = await choose_platform(config)
    reloader.govern(platform.runtime)
    engine = await Engine.open(platform, config.retention)
    try:
        streams = Streams()
        app = create_app(engine, streams)
        addresses = [listener.address for listener in listeners]
        _spare_the_collector()
        with listening(addresses) as sockets:
            pairs = list(zip(listeners, sockets, strict=True))
            ready = asyncio.Event()
            announced = asyncio.create_task(_announce(ready, [str(each) for each in addresses]))
            await serve(app, streams, pairs, stop, ready=ready, certificates=certificates)
            announced.cancel()
            notify("STOPPING=1")
    finally:
        await engine.close()
    _log.info("stopped; containers keep running")


def _spare_the_collector() -> None:
    """Look for garbage in circles less often, and never in what is loaded: that stays.

    A list of a large tree is some hundred thousand objects, none in a circle; looking through them as often
    as Python does by itself takes a fifth of the time that it takes to make them.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def _announce(ready: asyncio.Event, addresses: Sequence[str]) -> None:
    await ready.wait()
    _log.info("ready on %s", ", ".join(addresses))
    notify("READY=1")
