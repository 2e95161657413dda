"""The keys that leave a process running."""

from __future__ import annotations

import pytest

from kleene.client.detach import Detached, DetachKeys


def test_what_is_typed_goes_through() -> None:
    keys = DetachKeys()
    assert keys.feed(b"ls\n") == b"ls\n"
    assert keys.feed(b"a\x10") == b"a"
    assert keys.feed(b"b\x11") == b"\x10b\x11"
    assert keys.feed(b"\x10\x10") == b"\x10"
    assert keys.feed(b"x") == b"\x10x"


@pytest.mark.parametrize(
    "pieces", [[b"\x10\x11"], [b"a\x10", b"\x11"], [b"\x10", b"\x10", b"\x11"]]
)
def test_the_keys(pieces: list[bytes]) -> None:
    keys = DetachKeys()
    with pytest.raises(Detached):
        for piece in pieces:
            keys.feed(piece)
