"""What is fuzzed. A target takes bytes; whatever they are, nothing but a ``KleeneError`` may come of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from kleene.build.config import ImageConfig
from kleene.build.plan import plan, stages_of
from kleene.contexts.ignore import Ignore
from kleene.dockerfile.document import read_dockerfile, read_trigger
from kleene.dockerfile.expand import MAX_GROWTH, expand
from kleene.dockerfile.lint import Facts, lint
from kleene.dockerfile.lint_variables import Parent
from kleene.dockerfile.source import Source
from kleene.dockerfile.words import LogicalLine, Word
from kleene.errors import KleeneError
from kleene.names import ImageReference

VARIABLES = {"a": "", "b": "value", "c": "/a/b/c.tar.gz", "d": "*?[\\", "PATH": "/bin"}


def dockerfile(data: bytes) -> None:
    """Read, check and plan a Dockerfile."""
    with contextlib.suppress(KleeneError):
        read = read_dockerfile(Source.from_bytes("Dockerfile", data))
        for warning in lint(read, Facts({"a": "1"}, {}, lambda _: Parent(VARIABLES))):
            assert warning.rule and str(warning)
        for instruction in read.instructions():
            assert instruction.range.start <= instruction.range.end
        nodes = stages_of(read, {"a": "1"})
        images = {n.base: ImageConfig() for n in nodes if isinstance(n.base, ImageReference)}
        plan(read, nodes, images, {"a": "1"})


def trigger(data: bytes) -> None:
    """Read what ONBUILD of an image recorded."""
    with contextlib.suppress(KleeneError):
        read_trigger(Source.from_bytes("ONBUILD", data))


def expansion(data: bytes) -> None:
    """Expand a word, with both escape characters, with and without quotes."""
    with contextlib.suppress(KleeneError):
        source = Source.from_bytes("Dockerfile", data)
        word = Word.of_line(LogicalLine(source, source.text, (0,), (0,)))
        for escape in "\\`":
            for quotes in (True, False):
                with contextlib.suppress(KleeneError):
                    found = expand(word, VARIABLES, escape=escape, quotes=quotes)
                    assert len(found) <= len(word.text) + MAX_GROWTH


def ignore(data: bytes) -> None:
    """Read ``.dockerignore``, and ask it."""
    with contextlib.suppress(KleeneError):
        found = Ignore.parse(data.decode(errors="replace"), ".dockerignore")
        for path in ("a", "a/b", "a/b/c.txt", "x" * 200):
            found.excludes(path)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (dockerfile, trigger, expansion, ignore)
}
