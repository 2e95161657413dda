"""What is generated from the code is what the code says: run ``make docs`` after changing it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from scripts import async_client, reference, status

DOCS = Path(__file__).parents[2] / "docs"
STALE = "the pages do not fit the code: run `make docs`"


def test_reference_pages_are_current() -> None:
    there = {path.name: path.read_text() for path in (DOCS / "reference").iterdir()}
    wanted = reference.reference()
    assert there.keys() == wanted.keys(), STALE
    stale = [name for name in wanted if there[name] != wanted[name]]
    assert not stale, STALE


def test_status_is_current() -> None:
    wanted = status.page(reference.commands(), reference.document())
    assert (DOCS / "status.md").read_text() == wanted, STALE


def test_asynchronous_client_is_current() -> None:
    assert async_client.PLACE.read_text() == async_client.source(), STALE


def test_everything_documented_is_done_or_told_why_not() -> None:
    text = (DOCS / "status.md").read_text()
    for line in text.splitlines():
        if "| not done |" in line or "done, but for" in line:
            assert line.count("|") == 4, line
            assert line.split("|")[3].strip(), f"no reason: {line}"


def test_links_of_the_reference_lead_somewhere() -> None:
    pages = reference.reference()
    for line in pages["klee.md"].splitlines():
        if line.startswith("- [`"):
            file, _, anchor = line.partition("](")[2].partition(")")[0].partition("#")
            heading = anchor.replace("-", " ")
            assert f"# {heading}\n" in pages[file or "klee.md"], line


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_manual_pages_are_well_formed() -> None:
    pages = reference.manuals()
    assert {"klee.1", "klee-container-run.1", "kleened.8"} <= pages.keys()
    for text in pages.values():
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z"],
            input=text.encode(),
            capture_output=True,
            check=True,
        )
        assert done.stderr == b"", text
