"""SIGHUP: read the configuration again, and take over what can change while the daemon runs.

Lives as long as the daemon. The log, the certificates of the sockets and the bounds of containers' logs are
taken over; of all else that has changed the log says that it waits for the next start. A configuration with
mistakes changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace

from kleene.daemon import log
from kleene.daemon.addresses import Address
from kleene.daemon.config import Config, Listener
from kleene.daemon.notify import notify, notify_reloading
from kleene.daemon.tls import LiveTls
from kleene.errors import KleeneError
from kleene.runtime.driver import RuntimeDriver

_TAKEN_OVER = frozenset(
    "enable_logging log_level log log_file log_format container_log_size container_log_files".split()
)

_log = logging.getLogger(__name__)


class Reloader:
    """Holds the configuration that is in force.

    Args:
        load: reads the configuration as it was read at start.
        certificates: of the sockets that have TLS.
    """

    def __init__(
        self, config: Config, load: Callable[[], Config], certificates: Mapping[Address, LiveTls]
    ) -> None:
        self._config = config
        self._load = load
        self._certificates = certificates
        self._runtime: RuntimeDriver | None = None

    def govern(self, runtime: RuntimeDriver) -> None:
        """Set the bounds of containers' logs, now and whenever they change."""
        self._runtime = runtime
        runtime.log_bounds = self._config.log_bounds

    def reload(self) -> None:
        """Take over what can be taken over. Mistakes are told in the log only."""
        notify_reloading()
        try:
            self._take(self._load())
        except KleeneError as error:
            more = f"\n{error.details}" if error.details else ""
            _log.error("the configuration stays as it was: %s%s", error.message, more)
        finally:
            notify("READY=1")

    def _take(self, new: Config) -> None:
        self._certify(new.api_listening_sockets)
        log.set_up(new)
        for name in waiting(self._config, new):
            _log.warning("'%s' has changed: that takes effect at the next start", name)
        self._config = replace(self._config, **{name: getattr(new, name) for name in _TAKEN_OVER})
        if self._runtime is not None:
            self._runtime.log_bounds = self._config.log_bounds
        _log.info("the configuration was read again")

    def _certify(self, listeners: Iterable[Listener]) -> None:
        """Load all certificates before any of them is put to use."""
        found = [(self._certificates.get(each.address), each) for each in listeners]
        loaded = [(live, live.load(each)) for live, each in found if live is not None]
        for live, context in loaded:
            live.use(context)


def waiting(old: Config, new: Config) -> list[str]:
    """The keys that have changed and cannot be taken over now."""
    names = [each.name for each in fields(Config) if each.name not in _TAKEN_OVER]
    changed = [
        name
        for name in names
        if name != "api_listening_sockets" and getattr(old, name) != getattr(new, name)
    ]
    if _fixed(old) != _fixed(new):
        changed.append("api_listening_sockets")
    return changed


def _fixed(config: Config) -> list[tuple[Address, bool]]:
    """What of the sockets stays as it is: where they are, and who is asked for a certificate."""
    return [(each.address, each.tlsverify) for each in config.api_listening_sockets]
