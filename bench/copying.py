"""``COPY`` beside ``cp -a --reflink=auto``: the same files, from the same disk into the same pool, in turn.

What each made is removed before the next begins, so that both write to memory that was in use before: on a
virtual machine, pages that the host has to find first cost three times as much.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.rootfs import write_tar

from bench import isolation, report, rows
from bench.kleene import Kleene
from bench.tools import BASE, run

_ROUNDS = 9
_KINDS: tuple[tuple[str, Callable[[Path], None]], ...] = (
    (f"{rows.SMALL_FILES:,} small files", rows.write_small_files),
    (f"one {rows.LARGE_FILE >> 20} MiB file", rows.write_large_file),
)


def main() -> int:
    """Measure both in namespaces of the bench's own, and print a table."""
    isolation.enter("bench.copying")
    directory = Path(tempfile.mkdtemp(prefix="kleene-bench-", dir="/var/tmp"))
    kleene = Kleene(directory / "kleene")
    kleene.directory.mkdir()
    try:
        with isolation.cgroups_kept():
            kleene.start()
            kleene.import_base(write_tar(directory / "base.tar"))
            print(f"| medians of {_ROUNDS} rounds | `cp -a` | the step `COPY` | `klee build` |")
            print("| --- | ---: | ---: | ---: |")
            for number, (title, write) in enumerate(_KINDS):
                context = directory / str(number)
                write(context / "files")
                (context / "Dockerfile").write_text(f"FROM {BASE}\nCOPY files /files\n")
                _tell(title, *_measured(kleene, context))
    finally:
        kleene.stop()
        isolation.unmount_below(directory)
        shutil.rmtree(directory, ignore_errors=True)
    print(f"\nMeasured on {report.machine()}.")
    return 0


def _tell(title: str, bare: float, *others: float) -> None:
    texts = [f"{report.quantity(value, 's')} ({value / bare:.2f}×)" for value in others]
    print(f"| {title} | {' | '.join([report.quantity(bare, 's'), *texts])} |", flush=True)


def _measured(kleene: Kleene, context: Path) -> list[float]:
    """Medians of ``cp``, of the step and of the whole build, in seconds. The first build reads every file."""
    pool = kleene.storage()
    bare = pool / "bare"
    run(["btrfs", "subvolume", "create", bare])
    found = []
    for _ in range(_ROUNDS):
        _settle(pool)
        copied = rows.seconds(lambda: _cp(context / "files", bare / "files"))
        shutil.rmtree(bare / "files")
        _settle(pool)
        built = rows.seconds(lambda: kleene.build(context, "copied", cache=False))
        found.append((copied, kleene.last_step("copied"), built))
        kleene.remove_image("copied")
    run(["btrfs", "subvolume", "delete", bare])
    return [statistics.median(values) for values in zip(*found, strict=True)]


def _cp(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)


def _settle(pool: Path) -> None:
    run(["btrfs", "subvolume", "sync", pool])
    os.sync()
    time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
