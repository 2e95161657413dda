"""``python -m tests.fuzz TARGET CORPUS SECONDS``: fuzz one target; exit status 0 if nothing was found.

The corpus is a directory that is read and added to; it begins with the Dockerfiles of the tests. An input
that breaks the target is left there as ``crash-…`` (or ``timeout-…``), and the traceback is printed.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import atheris

_TESTS = Path(__file__).parents[1]
_WORDS = [
    "${a:-b}",
    "${a#*/}",
    "${c//\\//-}",
    "$a",
    "'b c'",
    '"$d"',
    "${b/a*/x}",
    "`$a",
    "*.log\n!a",
]
_LONGEST = 20_000
_PATIENCE = 10
"""Seconds that one input may take: far more than one of this length needs, if time is linear."""


def main() -> None:
    target_name, directory, seconds = sys.argv[1:]
    # Only what is imported in here is watched for the paths that inputs take.
    with atheris.instrument_imports(
        include=["kleene.dockerfile", "kleene.build", "kleene.contexts"]
    ):
        from tests.fuzz.targets import TARGETS

    corpus = Path(directory)
    corpus.mkdir(parents=True, exist_ok=True)
    seed(corpus, target_name)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={_LONGEST}",
        f"-timeout={_PATIENCE}",
        f"-artifact_prefix={corpus}/",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], TARGETS[target_name])
    atheris.Fuzz()


def seed(corpus: Path, target: str) -> None:
    """Begin a corpus with what the tests have."""
    if target == "dockerfile":
        texts = [path.read_bytes() for path in _TESTS.glob("*/*/Dockerfile")]
        texts += [path.read_bytes() for path in _TESTS.glob("golden/dockerfiles/*/Dockerfile")]
    else:
        texts = [word.encode() for word in _WORDS]
    for text in texts:
        if len(text) < _LONGEST:
            (corpus / hashlib.sha1(text).hexdigest()).write_bytes(text)


main()
