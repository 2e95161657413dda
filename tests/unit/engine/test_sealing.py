"""Secrets at rest: what the file of the key must be, and what cannot be opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from kleene.engine.sealing import Sealer
from kleene.errors import HostUnavailable


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "secrets.key"


def test_what_was_sealed_is_opened(key: Path) -> None:
    sealed = [Sealer(key).seal("a", content, first=True) for content in (b"", b"x", b"x")]
    assert key.stat().st_mode & 0o7777 == 0o600
    assert [Sealer(key).open("a", text) for text in sealed] == [b"", b"x", b"x"]
    assert sealed[1] != sealed[2]
    with pytest.raises(HostUnavailable, match="secret 'b' cannot be decrypted"):
        Sealer(key).open("b", sealed[1])


def test_a_key_that_cannot_be_used(key: Path, tmp_path: Path) -> None:
    with pytest.raises(HostUnavailable, match="cannot be read"):
        Sealer(key).seal("a", b"x", first=False)
    sealed = Sealer(key).seal("a", b"x", first=True)
    for mode in (0o640, 0o604, 0o620):
        key.chmod(mode)
        with pytest.raises(HostUnavailable, match=f"mode 0{mode:o}"):
            Sealer(key).open("a", sealed)
    key.chmod(0o600)
    elsewhere = tmp_path / "elsewhere"
    key.rename(elsewhere)
    key.symlink_to(elsewhere)
    with pytest.raises(HostUnavailable, match="cannot be read"):
        Sealer(key).open("a", sealed)
    key.unlink()
    key.write_bytes(b"short")
    key.chmod(0o600)
    with pytest.raises(HostUnavailable, match="is damaged"):
        Sealer(key).open("a", sealed)
