"""The drivers and paths that one daemon works with: chosen once, at start, by ``daemon.platforms``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kleene.engine.context_store import ContextLimits
from kleene.host.git import KNOWN_HOSTS
from kleene.network.driver import Firewall, LinkDriver
from kleene.runtime.driver import RuntimeDriver
from kleene.storage.driver import StorageDriver


@dataclass(frozen=True)
class Platform:
    """What the engine is given.

    Attributes:
        root: the data directory (``kleene_root``); outlives the host's restart.
        run: state that need not outlive the host's restart.
        instance: 6 hex digits derived from ``root``: keeps what two daemons of one host make in the
            kernel (bridges, firewall tables, cgroups) apart.
        contexts: bounds of what clients upload.
        known_hosts: file with the keys of SSH servers to trust.
        probed: for each driver that was tried, ``ok`` or why it cannot be used.
    """

    root: Path
    run: Path
    instance: str
    storage: StorageDriver
    runtime: RuntimeDriver
    links: LinkDriver
    firewall: Firewall
    probed: dict[str, str] = field(default_factory=dict)
    contexts: ContextLimits = field(default_factory=ContextLimits)
    known_hosts: Path = KNOWN_HOSTS
