"""Where the mounts of a step go: nothing that was there before is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kleene.runtime.step_mounts import _MountPoint


def test_a_link_that_leads_nowhere_is_refused_and_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("absent")
    root = os.open(tmp_path, os.O_RDONLY)
    point = _MountPoint(root, "/link")
    try:
        with pytest.raises(FileExistsError):
            point.make(False)
    finally:
        point.remove()
        os.close(root)
    assert (tmp_path / "link").readlink() == Path("absent")
