"""The groups of commands, one for each kind of object."""

from __future__ import annotations

import click

from kleene.cli.command import LazyGroup


@click.group(
    cls=LazyGroup,
    targets={
        "create": "container:create",
        "run": "execution:run",
        "start": "execution:start",
        "stop": "container:stop",
        "restart": "execution:restart",
        "rm": "container:rm",
        "ls": "listing:containers",
        "inspect": "inspection:container",
        "exec": "execution:exec_",
        "cp": "copy:cp",
        "logs": "logs:logs",
        "top": "listing:processes",
        "wait": "container:wait",
        "kill": "container:kill",
        "attach": "attaching:attach",
        "stats": "stats:stats",
        "diff": "states:diff",
        "commit": "states:commit",
        "update": "container:update",
        "rename": "container:rename",
        "prune": "container:prune",
    },
    examples=("klee container ls -a", "klee container create --name web web:latest"),
)
def container() -> None:
    """Manage containers."""


@click.group(
    cls=LazyGroup,
    targets={
        "build": "build:build",
        "create": "image:create",
        "ls": "listing:images",
        "inspect": "inspection:image",
        "tag": "image:tag",
        "rm": "image:rm",
        "prune": "pruning:images",
        "history": "history:history",
        "tree": "tree:tree",
        "diff": "history:diff",
        "blame": "history:blame",
        "bisect": "bisect:bisect",
    },
    examples=("klee image create fetch-auto", "klee image inspect web:latest"),
)
def image() -> None:
    """Manage images."""


@click.group(
    cls=LazyGroup,
    targets={
        "create": "network:create",
        "ls": "listing:networks",
        "inspect": "inspection:network",
        "rm": "network:rm",
        "prune": "network:prune",
        "connect": "network:connect",
        "disconnect": "network:disconnect",
    },
    examples=("klee network create --subnet 10.13.37.0/24 testnet", "klee network ls"),
)
def network() -> None:
    """Manage networks."""


@click.group(
    cls=LazyGroup,
    targets={
        "create": "volume:create",
        "ls": "listing:volumes",
        "inspect": "inspection:volume",
        "rm": "volume:rm",
        "prune": "volume:prune",
        "update": "volume:update",
        "snapshot": "volume_states:snapshot",
        "snapshots": "volume_states:snapshots",
        "restore": "volume_states:restore",
        "clone": "volume_states:clone",
        "export": "volume_states:export",
        "import": "volume_states:import_",
    },
    examples=("klee volume create data", "klee volume ls"),
)
def volume() -> None:
    """Manage volumes."""


@click.group(
    cls=LazyGroup,
    targets={
        "create": "stored_files:create_secret",
        "ls": "stored_files:list_secrets",
        "inspect": "stored_files:inspect_secret",
        "rm": "stored_files:rm_secret",
    },
    examples=("klee secret create db-password < password.txt", "klee secret ls"),
)
def secret() -> None:
    """Manage secrets: files for containers, encrypted on disk."""


@click.group(
    cls=LazyGroup,
    targets={
        "create": "stored_files:create_config",
        "ls": "stored_files:list_configs",
        "inspect": "stored_files:inspect_config",
        "rm": "stored_files:rm_config",
    },
    examples=("klee config create nginx.conf ./nginx.conf", "klee config ls"),
)
def config() -> None:
    """Manage configs: read-only files for containers."""
