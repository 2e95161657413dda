"""Limits of subvolumes, by btrfs' quota groups (btrfs-quota(5), kernel's ``linux/btrfs.h``).

*Simple quotas* (Linux 6.7) charge an extent to the subvolume that wrote it, as long as anything refers to it.
So a snapshot costs no accounting; but a clone is not charged for what it has from its source, and a source
stays charged for what only its snapshots have. A user counts what a volume shows. So the kernel's limit is
set off by the difference of the two, and set again as the difference changes: see :class:`Shown`.

The older kind walks all shared extents when a snapshot is made, which makes many snapshots slow: it is used
where the host's administrator switched it on, and never switched on here.

What is switched on stays so on disk.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from kleene.errors import HostUnavailable
from kleene.storage import btrfs_ioctl as btrfs

_SYSFS = Path("/sys/fs/btrfs")


def _groups(fd: int) -> Path:
    """The kernel's directory of the file system's quota groups; it is there while quotas are on."""
    digits = btrfs.filesystem_id(fd).hex()
    lengths, parts = (8, 4, 4, 4, 12), []
    for length in lengths:
        parts.append(digits[:length])
        digits = digits[length:]
    return _SYSFS / "-".join(parts) / "qgroups"


def is_on(fd: int) -> bool:
    """Whether the file system keeps account of its subvolumes."""
    try:
        return (_groups(fd) / "enabled").read_text().strip() == "1"
    except OSError:
        return False


def switch_on(fd: int) -> bool:
    """Have the file system keep simple accounts from now on; whether it does.

    An older kernel cannot mount the file system afterwards: only for one that is Kleene's own.
    """
    if is_on(fd):
        return True
    try:
        btrfs.enable_simple_quota(fd)
    except OSError:
        return False
    return True


def unavailable(pool: Path, dataset: str) -> HostUnavailable:
    """The error for a file system that keeps no account."""
    what = f"dataset '{dataset}' cannot be limited"
    release = os.uname().release
    numbers = [int(number) for number in re.findall(r"\d+", release)[:2]]
    if numbers < [6, 7]:
        return HostUnavailable(
            f"{what}: quotas on btrfs need Linux 6.7, and this is {release}",
            hint="boot a newer kernel, or keep the data on ZFS (zfs_dataset in the configuration)",
        )
    return HostUnavailable(
        f"{what}: its btrfs keeps no account of space",
        hint=f"switch that on (btrfs-progs 6.7): btrfs quota enable --simple {pool}",
    )


def _number(fd: int, file: str) -> int:
    """What the kernel tells of the quota group of the subvolume of ``fd``; 0 if there is none yet."""
    try:
        text = (_groups(fd) / f"0_{btrfs.subvolume_info(fd).id}" / file).read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdecimal() else 0


class Shown:
    """Limits what subvolumes show. Remembers at which state of each that was counted last."""

    def __init__(self) -> None:
        self._counted: dict[int, int] = {}

    def limit(self, fd: int, size: int | None) -> bool:
        """Limit the subvolume of ``fd`` to ``size`` bytes, or lift its limit; false if it shows more.

        Reads where all of its extents are. Durable on return, by a commit of the whole file system: no
        smaller one has the quota tree in it.

        Raises:
            OSError: as ioctl(2).
        """
        most = None
        if size is not None:
            btrfs.write_back(fd)
            info = btrfs.subvolume_info(fd)
            charged = _number(fd, "referenced")
            shown = sum(dict(btrfs.data_extents(fd, info.id)).values())
            if shown > size:
                return False
            most = size + charged - shown
            self._counted[info.id] = info.generation
        btrfs.limit_subvolume(fd, most)
        btrfs.sync(fd)
        return True

    def renew(self, fd: int, size: int) -> None:
        """Do it again if less than a quarter of the limit is left, and something has changed since."""
        info = btrfs.subvolume_info(fd)
        left = _number(fd, "max_referenced") - _number(fd, "referenced")
        if left < size // 4 and self._counted.get(info.id) != info.generation:
            self.limit(fd, size)
