"""Paths in a Dockerfile, as texts. Pure.

They are cleaned as texts, like Docker does it; what links make of them is for whoever opens them to keep in
bounds.
"""

from __future__ import annotations


def join(directory: str, path: str) -> str:
    """``path`` seen from ``directory`` (absolute): absolute, without ``.``, ``..`` and double slashes."""
    parts: list[str] = []
    for part in (path if path.startswith("/") else f"{directory}/{path}").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def is_directory(path: str) -> bool:
    """Whether a destination is written as a directory."""
    return path.rpartition("/")[2] in ("", ".", "..")


def in_context(pattern: str) -> str:
    """A source of COPY relative to the context, clean.

    ``..`` ends at the context, as at a root (Dockerfile reference, "COPY", "Source").
    """
    parts: list[str] = []
    for part in pattern.split("/"):
        if part.replace("\\", "") == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts) or "."


def pivot_of(pattern: str) -> int:
    """How many components of a source come before ``/./``, which says from where on parents are copied."""
    above, pivot, _ = pattern.partition("/./")
    return len([part for part in join("/", above).split("/") if part]) if pivot else 0
