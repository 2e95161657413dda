"""How long the metadata's commits and listings take. Run: ``python -m bench.metadata``."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from kleene.metadata.database import Database
from kleene.metadata.volumes import VolumeRecord, VolumeStore


def _median_ms(work: Callable[[int], object], rounds: int) -> float:
    times = []
    for number in range(rounds):
        started = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = VolumeStore(Database.open(Path(directory) / "kleene.db"))
        commit = _median_ms(
            lambda n: store.volumes.insert(VolumeRecord(f"v{n}", "ready", "now", f"volume/v{n}")),
            1000,
        )
        listing = _median_ms(lambda _: store.ready(), 20)
    print(f"one commit: {commit:.2f} ms; a listing of 1,000 rows: {listing:.2f} ms")


if __name__ == "__main__":
    main()
