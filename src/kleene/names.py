"""Names and identifiers: how objects are called, and how what a user typed is understood.

Pure. Grammar: ids are 12 hex digits, any unique prefix will do; an image reference is
``ID|NAME[:TAG][@SNAPSHOT]`` with the tag ``latest`` if left out, and a name may begin with a registry's host:
``localhost:5000/team/web``; a container's name matches
``[a-zA-Z0-9][a-zA-Z0-9_.-]+``.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from kleene.errors import InvalidInput

ID_LENGTH = 12
DEFAULT_TAG = "latest"

_ID = re.compile(r"[0-9a-f]{12}")
_ID_PREFIX = re.compile(r"[0-9a-f]{1,12}")
_OBJECT_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
_CONTAINER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,127}")
_PART = "[a-zA-Z0-9](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9])?"
_LONGEST_IMAGE_NAME = 255  # as Docker has it
_IMAGE_NAME = re.compile(
    rf"(?:(?:{_PART}|\[[0-9a-fA-F:]{{2,39}}\]):[0-9]{{1,5}}/|\[[0-9a-fA-F:]{{2,39}}\]/)?"
    rf"{_PART}(?:/{_PART})*"
)
_HUB = re.compile("(?:(?:index\\.)?docker\\.io/)?(?:library/(?=[^/]+$))?")
_DIGEST = re.compile("[a-zA-Z0-9+._-]+:[0-9a-fA-F]+")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")

_BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")

_ADJECTIVES = (
    "brave calm clever cosmic curious daring eager elegant fearless gentle happy humble jolly keen "
    "lucid lively mellow merry modest nimble noble patient polite proud quiet quirky serene sharp "
    "silent sleepy steady stoic sunny tender thrifty trusting upbeat vivid warm wise witty zealous"
).split()
_SCIENTISTS = (
    "babbage bhaskara blackwell bohr boole cantor church curie darwin dijkstra dirac einstein euclid "
    "euler faraday fermat feynman franklin galileo gauss germain godel goodall hamilton hawking "
    "hodgkin hopper hypatia kepler kleene kovalevskaya lamarr lovelace lumiere maxwell meitner mendel "
    "newton noether pascal pasteur planck poincare ritchie shannon tarski tesla thompson turing"
).split()


@dataclass(frozen=True)
class ImageReference:
    """An image as a user names it. Exactly one of an id or a name is meant by ``name``: only the
    list of images can tell, so a name of hex digits without a tag may be either.

    Attributes:
        name: the name, or an id or its prefix.
        tag: the tag; ``None`` if none was written (then ``latest`` is meant, unless ``name`` is an id).
        snapshot: the snapshot's id or its prefix; ``None`` for the image's last state.
    """

    name: str
    tag: str | None = None
    snapshot: str | None = None

    @property
    def nametag(self) -> str:
        """``NAME:TAG``, with the tag that is meant when none was written."""
        return f"{self.name}:{self.tag or DEFAULT_TAG}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        snapshot = f"@{self.snapshot}" if self.snapshot is not None else ""
        return f"{self.name}{tag}{snapshot}"


def new_id() -> str:
    """A fresh random id of 12 hex digits."""
    return secrets.token_hex(ID_LENGTH // 2)


def is_id(text: str) -> bool:
    """Whether ``text`` is a whole id."""
    return _ID.fullmatch(text) is not None


def is_id_prefix(text: str) -> bool:
    """Whether ``text`` could be the beginning of an id."""
    return _ID_PREFIX.fullmatch(text) is not None


def candidates(prefix: str, ids: Iterable[str]) -> list[str]:
    """The ids that begin with ``prefix``, sorted; the exact id alone if it is among them."""
    if not is_id_prefix(prefix):
        return []
    found = sorted(i for i in ids if i.startswith(prefix))
    return [prefix] if prefix in found else found


def parse_image_reference(text: str) -> ImageReference:
    """Read ``ID|NAME[:TAG][@SNAPSHOT]``.

    What Docker writes short is short here: ``docker.io/library/web`` is ``web``.

    Raises:
        InvalidInput: a part is empty or has a character that it may not have; or there is a digest.
    """
    rest, at, snapshot = text.partition("@")
    path, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    name = f"{path}{slash}{last}"
    wanted = "write ID, NAME, NAME:TAG or one of these followed by @SNAPSHOT"
    if len(name) > _LONGEST_IMAGE_NAME:
        raise InvalidInput(
            f"image name '{name[:20]}...' is too long",
            hint=f"use at most {_LONGEST_IMAGE_NAME} characters",
        )
    if _IMAGE_NAME.fullmatch(name) is None:
        raise InvalidInput(f"image reference '{text}' has no valid name", hint=wanted)
    if colon and _TAG.fullmatch(tag) is None:
        raise InvalidInput(f"image reference '{text}' has no valid tag", hint=wanted)
    if _DIGEST.fullmatch(snapshot):
        raise InvalidInput(
            f"image '{rest}' cannot be found by the digest '{_shortened(snapshot)}'",
            hint=f"there is no registry that knows it: write '{rest}' alone, or with a snapshot: '{rest}@ID'",
        )
    if at and not is_id_prefix(snapshot):
        raise InvalidInput(
            f"image reference '{text}' has no valid snapshot",
            hint="a snapshot is named by up to 12 hex digits: klee image inspect lists them",
        )
    short = name[_HUB.match(name).end() :]  # type: ignore[union-attr]  # it matches nothing, too
    return ImageReference(short, tag if colon else None, snapshot if at else None)


def _shortened(digest: str) -> str:
    return digest if len(digest) <= 20 else f"{digest[:19]}…"


def parse_nametag(text: str) -> tuple[str, str]:
    """Read ``NAME[:TAG]`` as it is given to a new image.

    Raises:
        InvalidInput: not a valid name or tag, or a snapshot was named.
    """
    reference = parse_image_reference(text)
    if reference.snapshot is not None:
        raise InvalidInput(
            f"tag '{text}' names a snapshot", hint="leave out '@' and what follows it"
        )
    return reference.name, reference.tag or DEFAULT_TAG


def check_container_name(name: str) -> str:
    """Return ``name`` without one leading ``/`` (as Docker's API writes it).

    Raises:
        InvalidInput: the name has a character that a container's name may not have.
    """
    name = name.removeprefix("/")
    if _CONTAINER_NAME.fullmatch(name) is None:
        raise InvalidInput(
            f"container name '{name}' is not valid",
            hint="use 2 to 128 of: letters, digits, '_', '.', '-'; begin with a letter or digit",
        )
    return name


def check_object_name(kind: str, name: str) -> str:
    """Return the name of a network or volume (``kind``, for the message) if it is valid.

    Raises:
        InvalidInput: the name has a character that it may not have, or is too long.
    """
    if _OBJECT_NAME.fullmatch(name) is None:
        raise InvalidInput(
            f"{kind} name '{name}' is not valid",
            hint="use up to 128 of: letters, digits, '_', '.', '-'; begin with a letter or digit",
        )
    return name


def check_labels(labels: Iterable[str]) -> None:
    """Check the names of labels.

    Raises:
        InvalidInput: one is empty, or has a NUL.
    """
    for label in labels:
        if not label or "\0" in label:
            raise InvalidInput(f"label '{label}' has no name", hint="write NAME=VALUE")


def invent_container_name(taken: Collection[str]) -> str:
    """An ``adjective_scientist`` that is not in ``taken``; a number is added when the words run out."""
    for _ in range(20):
        name = f"{secrets.choice(_ADJECTIVES)}_{secrets.choice(_SCIENTISTS)}"
        if name not in taken:
            return name
    return f"{name}_{new_id()}"


def path_text(path: str) -> str:
    """A path of a file system as the API and people are told it: ``\\xff`` is a byte that is not UTF-8."""
    return os.fsencode(path).decode(errors="backslashreplace")


def path_of_text(text: str) -> str:
    """The path that :func:`path_text` may have made a text of."""
    return os.fsdecode(_BYTE.sub(lambda found: bytes([int(found[1], 16)]), os.fsencode(text)))


def nearest(text: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``text`` is most likely a slip of; ``None`` if none is near."""
    from difflib import get_close_matches

    words = list(known)
    # In a short name, two letters exchanged are half of it.
    exchanged = [word for word in words if sorted(word) == sorted(text)]
    return next(iter([*get_close_matches(text, words, n=1), *exchanged]), None)
