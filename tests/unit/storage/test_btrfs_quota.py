"""What is said where btrfs has no quotas."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kleene.storage import btrfs_quota


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ("6.1.0-56-amd64", "need Linux 6.7, and this is 6.1.0-56-amd64"),
        ("5.15.0", "need Linux 6.7, and this is 5.15.0"),
        ("6.7.1", "keeps no account"),
        ("10.0", "keeps no account"),
    ],
)
def test_an_old_kernel_is_named(release: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*known[:2], release, *known[3:])))
    error = btrfs_quota.unavailable(Path("/pool"), "volume/v")
    assert said in error.message
    assert "volume/v" in error.message
    assert ("quota enable --simple /pool" in (error.hint or "")) == ("no account" in said)
