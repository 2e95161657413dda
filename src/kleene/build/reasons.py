"""Why the cache does not have a state: what differs from the nearest that it has. Pure.

What a state was made of is kept by name, each as a short digest: enough to compare, and nothing of what
the user wrote is kept twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from kleene.build.steps import AddStep, CopyStep, RunStep, Step, WorkdirStep

Inputs = dict[str, str]

NO_CACHE = "the cache was not asked"
NO_CACHE_FOR_STAGE = "the cache was not asked for this stage"
FRESH = "what it starts from was made without asking the cache"
FOLLOWS = "a step before it was not in the cache"
GONE = "it was built before, and its snapshot has been removed since"
AT_ONCE = "another build made it at the same time"
RESUMED = "taken over from the build that is resumed"
NEW = "nothing was built from this state before"

_SHOWN = 4
_FILES = "the files"


def inputs(
    step: Step | None, directories: Iterable[WorkdirStep], digest: str | None, environment: str
) -> Inputs:
    """What a state was made of, beside the state before.

    Args:
        step: that changes files; ``None`` for directories alone.
        directories: that WORKDIR named since the state before.
        digest: of what is copied or, for RUN, of the files in its mounts.
    """
    found = {"the working directories": _short("".join(d.canonical() for d in directories))}
    found["the options of the build container"] = _short(environment)
    match step:
        case RunStep():
            found |= {"the command": _short(repr(step.args)), "the user": _short(step.user)}
            found["the working directory"] = _short(step.cwd)
            pairs = (entry.partition("=") for entry in step.env)
            found |= {
                f"variable '{name}'": _short(value)
                for name, _, value in pairs
                if name not in step.proxies
            }
            found |= _of_mounts(step, digest)
        case CopyStep():
            found["the instruction"] = _short(step.canonical())
            what = _FILES if not isinstance(step, AddStep) else "the files or what the server has"
            found[what] = _short(digest or "")
    return found


def _of_mounts(step: RunStep, digest: str | None) -> Inputs:
    found = {}
    if step.mounts:
        found["the mounts"] = _short(repr([mount.canonical() for mount in step.mounts]))
    if digest is not None:
        found["the files in the mounts"] = _short(digest)
    if step.network != "default" or step.insecure:
        found["the network or the security"] = f"{step.network} {step.insecure}"
    return found


def nearest_of(
    wanted: Mapping[str, str], earlier: Sequence[Mapping[str, str]]
) -> tuple[int, list[str]] | None:
    """The first of those that differ least, and the names of what differs; ``None``: there are none.

    Args:
        earlier: what states that follow the same state were made of.
    """
    differences = [_different(wanted, known) for known in earlier]
    if not differences:
        return None
    return min(enumerate(differences), key=lambda found: len(found[1]))


def only_files_differ(wanted: Mapping[str, str], known: Mapping[str, str]) -> bool:
    """Whether the same COPY made both, of different files."""
    return _different(wanted, known) == [_FILES]


def new_from(start: str) -> str:
    """Why nothing follows the state that a stage starts from: ``image 'tiny:latest'``, ``stage 'base'``."""
    return f"nothing was built from {start} as it is now"


def miss(nearest: Sequence[str], files: str = "") -> str:
    """Why a state is not in the cache.

    Args:
        nearest: the names of what differs.
        files: which files do.
    """
    if {"the command", "the instruction"} <= set(nearest):  # what a RUN has, and what a COPY has
        return "the instruction changed"
    if nearest and files:
        text = miss(nearest)
        return f"{text}: {files}"
    names = [*nearest[:_SHOWN], *["more"] * (len(nearest) > _SHOWN)]
    text = ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
    return f"{text} changed" if text else NEW


def _different(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
