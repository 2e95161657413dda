"""A container's bundle: the directory that the OCI runtime makes it from. Lasts as long as the container."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from kleene.errors import HostUnavailable, InvalidInput
from kleene.host import inroot, oserrors
from kleene.runtime import devices, etcfiles, oci_spec, seccomp
from kleene.runtime.driver import ContainerSpec, Mount
from kleene.runtime.jail_params import Adjustments
from kleene.runtime.records import Record, State, store

_OWN = {
    "/proc": "mount what you need of it somewhere else",
    "/dev": "give the container devices: --device /dev/NAME",
}


def check_mounts(spec: ContainerSpec) -> None:
    """Refuse what the runtime would fail at.

    Raises:
        InvalidInput: a source is not there, or a destination cannot be one.
        HostUnavailable: the container's own file system is not there.
    """
    if not spec.rootfs.is_dir():
        raise HostUnavailable(
            f"the file system of container '{spec.id}', '{spec.rootfs}', is not there",
            hint="see that the storage pool is mounted; if it is lost: klee rmc " + spec.id,
        )
    places = [f"/{mount.destination.strip('/')}" for mount in spec.mounts]
    for mount, place in zip(spec.mounts, places, strict=True):
        if not mount.source.exists():
            raise InvalidInput(
                f"mount source '{mount.source}' does not exist", hint="make it first"
            )
        if not mount.destination.startswith("/") or not mount.destination.strip("/"):
            raise InvalidInput(
                f"mount destination '{mount.destination}' is not possible",
                hint="write an absolute path in the container, other than '/'",
            )
        if place in _OWN:
            raise InvalidInput(
                f"mount destination '{place}' is what every container has of its own",
                hint=f"{_OWN[place]}, or choose another destination",
            )
        if not any(place.startswith(f"{other}/") for other in (*places, *_OWN)):
            _check_target(spec.rootfs, mount, place)


def _check_target(rootfs: Path, mount: Mount, place: str) -> None:
    """Refuse what cannot be mounted on; what is missing is made by the runtime."""
    try:
        is_directory = stat.S_ISDIR(inroot.stat(rootfs, place).st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        failed = f"mount destination '{place}' cannot be made in the container"
        raise oserrors.explain(error, failed) from error
    if is_directory != mount.source.is_dir():
        this, that = ("a directory", "not") if is_directory else ("no directory", "one")
        raise InvalidInput(
            f"mount destination '{place}' is {this} in the container, and '{mount.source}' is {that}",
            hint="choose another destination",
        )


def write(
    state: State,
    spec: ContainerSpec,
    adjusted: Adjustments,
    host: oci_spec.Host,
    cgroup: str,
) -> Record:
    """Write the bundle, and the record of a container that is not up yet."""
    bundle = state.bundle(spec.id)
    bundle.mkdir(mode=0o700)
    (bundle / "exec").mkdir(mode=0o700)
    hostname = adjusted.hostname or spec.hostname
    files = etcfiles.write(bundle, hostname, spec.options, own_stack=spec.network.kind != "host")
    mountable, made = etcfiles.make_mountpoints(spec.rootfs, files)
    bounding = oci_spec.capabilities(spec.network_driver, adjusted, host.capabilities, spec.options)
    rlimits = oci_spec.rlimits(host, spec.options.rlimits)
    record = Record(
        str(spec.rootfs),
        made,
        bounding,
        adjusted.user,
        rlimits=rlimits,
        groups=spec.options.groups,
        no_new_privileges=spec.options.no_new_privileges,
    )
    state.save(spec.id, record)
    config = oci_spec.container(
        spec,
        adjusted,
        host,
        cgroup=cgroup,
        files=mountable,
        with_32_bit=_needs_32_bit(spec.rootfs, host.machine),
        given=devices.given(spec.options),
    )
    store(bundle / "config.json", config)
    return record


def _needs_32_bit(rootfs: Path, machine: str) -> bool:
    with inroot.root_fd(rootfs) as root:
        return seccomp.needs_32_bit(machine, lambda path: inroot.exists(root, path))


def make_cwd(root: inroot.Root, path: str) -> list[str]:
    """Make a process's working directory where it is missing; what was made, parents first.

    Args:
        root: of the container, with its mounts.

    Raises:
        InvalidInput: it cannot be made, or is not a directory.
        HostUnavailable: there is no space.
    """
    if not path.startswith("/"):
        raise InvalidInput(f"working directory '{path}' is not absolute", hint=f"write '/{path}'")
    try:
        return inroot.make_dirs(root, path)
    except NotADirectoryError as error:
        raise InvalidInput(
            f"working directory '{path}' is not a directory", hint="choose another one"
        ) from error
    except FileNotFoundError as error:  # below /proc, where nobody makes anything
        raise InvalidInput(
            f"working directory '{path}' cannot be made", hint="choose another one"
        ) from error
    except OSError as error:
        raise oserrors.explain(error, f"working directory '{path}' cannot be made") from error


def remove_cwd(root: inroot.Root, made: Collection[str]) -> None:
    """Remove the directories that :func:`make_cwd` made."""
    for path in reversed(list(made)):
        try:
            parent, name = inroot.split(path)
            fd = inroot.open_in_root(root, parent, inroot.O_PATH | os.O_DIRECTORY)
        except OSError:
            return
        try:
            if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                os.rmdir(name, dir_fd=fd)
        except OSError:
            return
        finally:
            os.close(fd)
