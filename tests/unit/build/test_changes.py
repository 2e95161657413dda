"""Instructions that change what an image says of its containers."""

from __future__ import annotations

import pytest

from kleene.build.changes import changed
from kleene.build.config import ImageConfig
from kleene.errors import InvalidInput

START = ImageConfig(cmd=("old",), env=("A=1",), workdir="/srv")


def test_changes_add_up() -> None:
    config = changed(
        START,
        ['CMD ["new", "x"]', "ENV B=$A-2", "ENV C=${B}", "WORKDIR sub", "USER 7", "LABEL a=b"],
    )
    assert (config.cmd, config.env) == (("new", "x"), ("A=1", "B=1-2", "C=1-2"))
    assert (config.workdir, config.user, config.settings.labels) == ("/srv/sub", "7", {"a": "b"})


def test_no_change_is_none() -> None:
    assert changed(START, []) == START


@pytest.mark.parametrize("text", ["RUN true", "COPY a b", "FROM x", "ARG a", "NONSENSE", "", "CMD"])
def test_what_is_no_change(text: str) -> None:
    with pytest.raises(InvalidInput):
        changed(START, [text])
