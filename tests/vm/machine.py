"""A virtual machine with Debian's kernel, control groups of version 2 alone, and no systemd.

QEMU without KVM: ten times slower than the host, but it runs wherever QEMU does. Three disks: the root file
system, made once by mmdebstrap and kept; this checkout with its virtual environment, made anew by
:meth:`Machine.prepare`; and one for data, which survives a power cut. Writes to the first two are lost at the
end. What to do is told on a fourth, as text. Everything lies in one directory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.daemon import mounts_below

CHECKOUT = Path(__file__).resolve().parents[2]
PARTS = ".venv src tests packaging docs pyproject.toml README.md".split()

_KERNEL = "linux-image-cloud-amd64"  # what a disk and its file system need is built in
_PACKAGES = (
    "crun kmod openssl procps python3 util-linux".split()
)  # besides those of scripts/packages.txt
_LEFT_OUT = ("buildah", "zfs-fuse")
_STATUS = "vm: exit status "

_INIT = """#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
export PYTHONDONTWRITEBYTECODE=1 KLEENE_PATIENCE=180
mount -t proc proc /proc
mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm CHECKOUT /data
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
for at in /dev/shm /run /tmp; do mount -t tmpfs tmpfs $at; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
modprobe loop
ip link set lo up
mount -o ro /dev/nvme1n1 CHECKOUT
mount /dev/nvme2n1 /data
cd CHECKOUT
tr -d '\\0' < /dev/nvme3n1 > /tmp/command
sh /tmp/command
echo "STATUS$?"
umount /data
echo o > /proc/sysrq-trigger
sleep 60
"""


class VmFailed(Exception):
    """The machine cannot be made, or did not come to the end of its command."""


@dataclass(frozen=True)
class Machine:
    """A machine whose disks lie in ``home``."""

    home: Path

    def prepare(self) -> None:
        """Make the root file system if it is missing, the disk of the checkout, and an empty one for data."""
        if os.uname().machine != "x86_64":
            raise VmFailed("there is a machine for x86_64 only")
        self.home.mkdir(parents=True, exist_ok=True)
        if not (self.home / "root.img").exists():
            self._make_root()
        with self._scratch("checkout") as scratch:
            for part in PARTS:
                _run("cp", "-a", CHECKOUT / part, scratch)
            self._make_disk("checkout.img", "1500M", scratch)
        self._make_disk("data.img", "2G")

    def _make_root(self) -> None:
        lines = (CHECKOUT / "scripts" / "packages.txt").read_text().splitlines()
        words = [line.split() for line in lines if line and not line.startswith("#")]
        listed = [name for name, who in words if who in ("run", "test") and name not in _LEFT_OUT]
        codename = _value("VERSION_CODENAME", Path("/etc/os-release").read_text())
        with self._scratch("root") as scratch:
            include = ",".join([*listed, *_PACKAGES])
            _run("mmdebstrap", "--variant=minbase", f"--include={include}", codename, scratch)
            self._add_kernel(scratch)
            (scratch / "init").write_text(
                _INIT.replace("CHECKOUT", str(CHECKOUT)).replace("STATUS", _STATUS)
            )
            (scratch / "init").chmod(0o755)
            self._make_disk("root.img", "4G", scratch)

    def _add_kernel(self, root: Path) -> None:
        """Unpack it: to install it would make an initramfs, which is not needed."""
        depends = _run("apt-cache", "depends", _KERNEL)
        name = next(line.split()[-1] for line in depends.splitlines() if "Depends:" in line)
        with self._scratch("kernel") as scratch:
            _run("apt-get", "download", name, cwd=scratch)
            _run("dpkg", "-x", next(scratch.glob("*.deb")), scratch)
            (modules,) = (scratch / "lib" / "modules").iterdir()
            (root / "usr" / "lib" / "modules").mkdir(exist_ok=True)
            _run("cp", "-a", modules, root / "usr" / "lib" / "modules" / modules.name)
            _run("chroot", root, "depmod", modules.name)
            shutil.copy(next((scratch / "boot").glob("vmlinuz-*")), self.home / "vmlinuz")

    def boot(self, command: str, cut: Callable[[str], bool], *, seconds: float) -> int | None:
        """Run a shell command in the checkout as root; its exit status, ``None`` if the power was cut.

        Args:
            cut: asked of each line of output, as it comes, whether to cut the power now.
            seconds: after which it is given up.

        Raises:
            VmFailed: the machine did not get to the end of the command.
        """
        text = command.encode() + b"\n"
        note = self.home / "command.img"
        note.write_bytes(text.ljust(-(-len(text) // 512) * 512, b"\0"))
        argv = ["timeout", f"{seconds:g}", "qemu-system-x86_64", *self._options()]
        machine = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
        )
        assert machine.stdout is not None
        try:
            for raw in machine.stdout:
                line = raw.decode(errors="replace").rstrip()
                if line.startswith(_STATUS):
                    return int(line.removeprefix(_STATUS))
                if cut(line):
                    return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(machine.pid, signal.SIGKILL)
            machine.wait()
            machine.stdout.close()
        raise VmFailed(f"the machine did not get to an end within {seconds:g} seconds")

    def _options(self) -> Iterable[str]:
        append = "console=ttyS0 panic=-1 quiet root=/dev/nvme0n1 rw cgroup_no_v1=all"
        # catatonit reaps orphans, as every first process must.
        append += " init=/usr/bin/catatonit -- /init"
        yield from ("-accel", "tcg,thread=multi", "-smp", "2", "-cpu", "max", "-m", "3G")
        yield from ("-nographic", "-no-reboot", "-nic", "none")
        yield from ("-kernel", str(self.home / "vmlinuz"), "-append", append)
        for name, kept in (("root", 0), ("checkout", 0), ("data", 1), ("command", 0)):
            how = "cache=writethrough" if kept else "snapshot=on"
            yield from ("-drive", f"file={self.home}/{name}.img,format=raw,if=none,id={name},{how}")
            yield from ("-device", f"nvme,serial={name},drive={name}")

    def _make_disk(self, name: str, size: str, content: Path | None = None) -> None:
        new = self.home / f".{name}"
        new.unlink(missing_ok=True)
        source = () if content is None else ("-d", content)
        _run("mkfs.ext4", "-q", *source, new, size)
        new.replace(self.home / name)

    @contextlib.contextmanager
    def _scratch(self, name: str) -> Iterator[Path]:
        """An empty directory, for as long as the block lasts."""
        directory = self.home / f"{name}.new"
        _remove(directory)
        directory.mkdir()
        try:
            yield directory
        finally:
            _remove(directory)


def _remove(directory: Path) -> None:
    """Remove a directory. mmdebstrap leaves file systems of the host mounted in it when it is killed."""
    for place in mounts_below(directory):
        _run("umount", place)
    if directory.exists():
        shutil.rmtree(directory)


def _run(*words: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode != 0:
        raise VmFailed(f"{' '.join(map(str, words))}\n{done.stderr[-2000:]}")
    return done.stdout


def _value(name: str, text: str) -> str:
    line = next(line for line in text.splitlines() if line.startswith(f"{name}="))
    return line.partition("=")[2].strip('"')
