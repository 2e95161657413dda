"""Digests that outlive the process: found again, bounded, and never wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from kleene.build import kept_digests
from kleene.build.kept_digests import KeptDigests
from kleene.host.treewalk import Signature


def key(number: int) -> Signature:
    return (2**63 + 1, number, 10**12, -1, number)


def value(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_they_are_found_by_the_next_daemon(tmp_path: Path) -> None:
    path = tmp_path / "digests"
    first = KeptDigests(path)
    assert first.get(key(1)) is None
    first.put(key(1), value(1))
    first.save()
    first.save()
    first.put(key(2), value(2))
    first.save()
    second = KeptDigests(path)
    assert (second.get(key(1)), second.get(key(2))) == (value(1), value(2))
    assert second.get(key(3)) is None


@pytest.mark.parametrize("damage", ["short", "changed", "zeros", "rubbish"])
def test_damage_costs_only_what_comes_after_it(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "digests"
    digests = KeptDigests(path)
    digests.put(key(1), value(1))
    digests.save()
    whole = path.read_bytes()
    digests.put(key(2), value(2))
    digests.save()
    data = path.read_bytes()
    path.write_bytes(
        {
            "short": data[:-1],
            "changed": data[:-1] + b"x",
            "zeros": whole + bytes(len(data) - len(whole)),
            "rubbish": whole + b"\xff" * 60,
        }[damage]
    )
    found = KeptDigests(path)
    assert (found.get(key(1)), found.get(key(2))) == (value(1), None)
    found.put(key(3), value(3))
    found.save()
    again = KeptDigests(path)
    assert (again.get(key(1)), again.get(key(3))) == (value(1), value(3))


def test_the_older_half_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_digests, "MOST", 10)
    digests = KeptDigests(tmp_path / "digests")
    for number in range(12):
        digests.put(key(number), value(number))
    digests.save()
    for found in (digests, KeptDigests(tmp_path / "digests")):
        assert [number for number in range(12) if found.get(key(number))] == list(range(6, 12))
