"""Volumes' states on every storage backend: what the engine makes of snapshots and clones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from kleene.engine.core import Core
from kleene.engine.platform import Platform
from kleene.engine.volume_states import VolumeStates
from kleene.engine.volumes import Volumes
from kleene.errors import Conflict
from kleene.metadata.database import Database
from kleene.schemas.volumes import VolumeCloneConfig, VolumeConfig, VolumeUpdate
from tests.contract.conftest import MIB, Store

pytestmark = pytest.mark.slow


@pytest.fixture
def core(store: Store, tmp_path: Path) -> Iterator[Core]:
    """An engine's core with nothing but a storage."""
    nothing = cast(Any, None)
    platform = Platform(tmp_path, tmp_path, "abcdef", store.driver, nothing, nothing, nothing, {})
    database = Database.open(tmp_path / "kleene.db")
    yield Core(platform, database)
    database.close()


async def test_there_and_back_again(core: Core) -> None:
    volumes = Volumes(core)
    states, storage = VolumeStates(core, volumes), core.platform.storage
    await volumes.create(VolumeConfig("data", quota=64 * MIB))

    def write(text: str) -> None:
        (volumes.mountpoint("data") / "f").write_text(text)

    def read(volume: str = "data") -> str:
        return (volumes.mountpoint(volume) / "f").read_text()

    for text in ("one", "two", "three"):
        write(text)
        assert await states.snapshot("data", text) == text
    write("lost")
    await states.restore("data", "two")
    assert read() == "two"
    write("more")
    await states.snapshot("data", "more")
    await states.restore("data", "three")  # a later state than the one that it is now
    assert read() == "three"
    await states.clone("data", VolumeCloneConfig("copy", snapshot="more"))
    assert read("copy") == "more"
    assert (await volumes.inspect("copy")).volume.quota == 64 * MIB
    assert [each.name for each in await states.snapshots("data")] == ["one", "two", "three", "more"]
    async with states.copy("data", "one") as files:
        assert (files / "f").read_text() == "one"
    with pytest.raises(Conflict, match="holds more than"):
        (volumes.mountpoint("data") / "big").write_bytes(bytes(range(256)) * 8192 * 2)
        _sync(volumes.mountpoint("data") / "big")
        await states.update("data", VolumeUpdate(MIB))

    for name in ("three", "one", "more", "two"):
        await states.remove_snapshot("data", name)
    assert read() == "three"
    left = await storage.datasets()
    assert {name for name in left if name != volumes.get("data").dataset} == {"volume/copy"}
    await volumes.remove("data")
    assert read("copy") == "more"
    await volumes.remove("copy")
    assert await storage.datasets() == []


def _sync(path: Path) -> None:
    import os

    with path.open("rb") as file:
        os.fsync(file.fileno())
    os.sync()
