"""Limits of subvolumes, by btrfs' quota groups (btrfs-quota(5), kernel's ``linux/btrfs.h``).

*Simple quotas* (Linux 6.7) charge an extent to the subvolume that wrote it, for ever. So a snapshot costs no
accounting; a clone is charged for what it writes itself, and its source for what they share. The older kind
walks all shared extents when a snapshot is made, which makes many snapshots slow: it is used where the host's
administrator switched it on, and never switched on here.

Holds nothing. What is switched on stays so on disk.
"""

from __future__ import annotations

from pathlib import Path

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


def referenced(fd: int) -> int:
    """Bytes that the subvolume that ``fd`` lies in is charged for, as far as they are on disk."""
    group = f"0_{btrfs.subvolume_info(fd).id}"
    try:
        return int((_groups(fd) / group / "referenced").read_text())
    except (OSError, ValueError):
        return 0


def limit(fd: int, size: int | None) -> None:
    """Charge the subvolume that ``fd`` lies in for at most ``size`` bytes; ``None`` lifts the limit.

    Durable on return, by a commit of the whole file system: no smaller one has the quota tree in it.

    Raises:
        OSError: as ioctl(2).
    """
    btrfs.limit_subvolume(fd, size)
    btrfs.sync(fd)
