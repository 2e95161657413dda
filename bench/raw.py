"""The limits: what the parts that Kleene is made of take when nothing is around them."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.rootfs import unpack

from bench import rows
from bench.rows import seconds
from bench.tools import program, run

# linux/btrfs.h: BTRFS_IOC_SNAP_CREATE_V2, struct btrfs_ioctl_vol_args_v2 (4096 bytes).
_SNAP_CREATE_V2 = 0x50009417
_ARGUMENTS = struct.Struct("=qQQQQQQ4040s")


class Raw:
    """The bare parts, set up once; each method is one measurement, in seconds."""

    def __init__(self, directory: Path, base: Path) -> None:
        self._directory = directory
        self._pool = self._make_pool(directory)
        run(["btrfs", "subvolume", "create", self._pool / "source"])
        unpack(base, self._pool / "source")
        self._bundle = self._make_bundle(directory / "bundle", self._pool / "source")
        self._state = directory / "runc"

    def _make_pool(self, directory: Path) -> Path:
        pool = directory / "pool"
        pool.mkdir(parents=True)
        image = directory / "pool.btrfs"
        with image.open("wb") as file:
            file.truncate(8 << 30)
        # As kleene.storage.loopfile makes Kleene's own.
        node = str(os.sysconf("SC_PAGESIZE"))
        run(["mkfs.btrfs", "-q", "-n", node, "-m", "single", image])
        run(["mount", "-o", "loop,noatime", image, pool])
        device = run(["findmnt", "-no", "SOURCE", pool]).strip()
        run(["losetup", "--direct-io=on", device])
        return pool

    def _make_bundle(self, bundle: Path, root: Path) -> Path:
        bundle.mkdir()
        run([program("runc"), "spec", "--bundle", bundle])
        spec = json.loads((bundle / "config.json").read_text())
        spec["process"] |= {"terminal": False, "args": ["true"]}
        spec["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]
        spec["root"] = {"path": str(root), "readonly": False}
        (bundle / "config.json").write_text(json.dumps(spec))
        return bundle

    def snapshot(self, number: int, name: str = "snapshot") -> float:
        """A snapshot by the kernel's ioctl."""
        pool = os.open(self._pool, os.O_RDONLY | os.O_DIRECTORY)
        source = os.open(self._pool / "source", os.O_RDONLY | os.O_DIRECTORY)
        text = f"{name}-{number}".encode()
        # Mutable: the fcntl module takes no more than 1024 bytes of any other kind.
        arguments = bytearray(_ARGUMENTS.pack(source, 0, 0, 0, 0, 0, 0, text))
        try:
            return seconds(lambda: _ioctl(pool, arguments))
        finally:
            os.close(source)
            os.close(pool)

    def runc(self, number: int) -> float:
        """``runc run`` of ``true``."""
        options: list[str | Path] = ["--root", self._state, "run", "--bundle", self._bundle]
        return seconds(lambda: _quiet([program("runc"), *options, f"bench-{number}"]))

    def python(self, number: int) -> float:
        """A Python that does nothing: what any client written in it takes at least."""
        return seconds(lambda: _quiet(["/usr/bin/python3", "-c", "pass"]))

    def copy_small(self, number: int) -> float:
        """``cp -a`` of the files of the row of the same name, from the disk of the bench into the pool."""
        return self._copy("small", rows.write_small_files, number)

    def keep_small(self, number: int) -> float:
        """The same, and a snapshot of it, which waits until all is on the disk."""
        return self._copy("small", rows.write_small_files, number, keep=True)

    def copy_large(self, number: int) -> float:
        """``cp -a`` of one large file."""
        return self._copy("large", rows.write_large_file, number)

    def keep_large(self, number: int) -> float:
        """The same, and a snapshot of it."""
        return self._copy("large", rows.write_large_file, number, keep=True)

    def walk(self, number: int) -> float:
        """A walk that looks at every file, by a program in C."""
        tree = self._directory / "walked"
        if not tree.exists():
            rows.write_files(tree, rows.UNCHANGED_FILES, lambda n: b"%d" % n)
        return seconds(lambda: _quiet(["find", tree, "-size", "+1G"]))

    def _copy(
        self, name: str, write: Callable[[Path], None], number: int, *, keep: bool = False
    ) -> float:
        source, target = self._directory / name, self._pool / "source" / name
        if not source.exists():
            write(source)
        argv: list[str | Path] = ["cp", "-a", "--reflink=auto", source, target]
        took = seconds(lambda: _quiet(argv))
        if keep:
            took += self.snapshot(number, name)
        shutil.rmtree(target)
        os.sync()  # the next measurement does not pay for this one
        return took

    def close(self) -> None:
        """Unmount the pool; its directory is the bench's to remove."""
        run(["umount", self._pool])


def _ioctl(pool: int, arguments: bytearray) -> None:
    fcntl.ioctl(pool, _SNAP_CREATE_V2, arguments)


def _quiet(argv: Sequence[str | Path]) -> None:
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)


_SMALL = f"`cp -a --reflink=auto` of {rows.SMALL_FILES:,} small files"
_LARGE = f"`cp -a --reflink=auto` of one {rows.LARGE_FILE >> 20} MiB file"

LIMITS = [
    ("a bare btrfs snapshot (ioctl)", Raw.snapshot),
    ("a bare `runc run … true`", Raw.runc),
    ("a bare `python3 -c pass`", Raw.python),
    (_SMALL, Raw.copy_small),
    (f"{_SMALL}, and a snapshot", Raw.keep_small),
    (_LARGE, Raw.copy_large),
    (f"{_LARGE}, and a snapshot", Raw.keep_large),
    (f"`find -size` over {rows.UNCHANGED_FILES:,} files", Raw.walk),
]
