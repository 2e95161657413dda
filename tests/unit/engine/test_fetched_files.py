"""What ADD fetches is bounded."""

from __future__ import annotations

import tempfile

import pytest

from kleene.engine.builds import _write
from kleene.errors import InvalidInput


def test_a_server_cannot_fill_the_disk() -> None:
    with tempfile.TemporaryFile() as file:
        _write(file, b"x" * 60, 100)
        with pytest.raises(InvalidInput, match="too large: the most is 100 bytes"):
            _write(file, b"x" * 60, 100)
