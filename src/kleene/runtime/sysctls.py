"""Kernel parameters that a container has for itself. Pure.

Facts: the kernel's ``Documentation/admin-guide/sysctl``, ipc_namespaces(7), network_namespaces(7). What
is not of a namespace would be the host's.
"""

from __future__ import annotations

import re

from kleene.errors import InvalidInput

_OF_IPC = {
    *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall"),
    *("kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"),
}
_NAME = re.compile(r"[a-z0-9_]+([./][A-Za-z0-9_-]+)+")


def check(name: str, value: str) -> None:
    """See that a parameter is one of a namespace.

    Raises:
        InvalidInput: it is not, or the value has more than a line.
    """
    if _NAME.fullmatch(name) is None or "\n" in value or "\0" in value:
        raise InvalidInput(
            f"kernel parameter '{name}={value}' cannot be understood",
            hint="write it as net.core.somaxconn=1024",
        )
    if not (name in _OF_IPC or name.startswith("fs.mqueue.") or is_of_network(name)):
        raise InvalidInput(
            f"kernel parameter '{name}' cannot be a container's own",
            hint="those of net., fs.mqueue. and System V IPC can; set others on the host: sysctl -w",
        )


def is_of_network(name: str) -> bool:
    """Whether it belongs to a network stack."""
    return name.startswith("net.")
