"""The steps of builds on the wire, what changed between states, and who wrote what."""

from __future__ import annotations

from typing import Literal

import msgspec


class StepMountInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A ``RUN --mount`` of a step that was taken.

    Attributes:
        source: path in the context, or in the stage or image that ``origin`` names; ``.`` is all.
        origin: ``""`` is the context, or of a cache nothing.
        snapshot: of the stage or image, as the step saw it.
        digest: of the files that the step saw; ``""`` if it did not come so far.
        id: of a cache, a secret or an agent.
        env: the variable that has the secret.
        size: in bytes, of a tmpfs; 0 is the kernel's default.
    """

    kind: Literal["bind", "cache", "tmpfs", "secret", "ssh"]
    target: str = ""
    source: str = "."
    origin: str = ""
    snapshot: str = ""
    digest: str = ""
    read_only: bool = False
    id: str = ""
    sharing: Literal["shared", "private", "locked"] = "shared"
    mode: int = 0
    uid: int = 0
    gid: int = 0
    env: str = ""
    size: int = 0


class BuildPlace(msgspec.Struct, omit_defaults=True):
    """Where the context of a build was.

    Attributes:
        context, upload, dockerfile: as in ``ImageBuildConfig``.
    """

    context: str = ""
    upload: str = ""
    dockerfile: str = "Dockerfile"


class HistoryStep(msgspec.Struct, kw_only=True):
    """A step of the build that made an image.

    Attributes:
        number: from 1; the steps of all stages that were needed are counted.
        instruction: its text on one line.
        snapshot: of the state after it, ``""`` if it changed no file; of a step that failed, of what it left.
        before: snapshot of the state before it, ``""`` if that is an empty file system.
        kept: whether its snapshot is still there; pruning takes it away.
        failed: the build stopped at it.
        cached: its state was taken from the build cache.
        reason: why it was or was not.
        seconds: how long it took.
        size: bytes of the files that it wrote; ``None`` if it has no snapshot, or not all that it needs.
        key: of the state after it, in the build cache.
        stage: index from 0.
        stage_name: ``""`` if it has none.
        first_line, last_line: in the Dockerfile.
        args: of RUN: the argument vector.
        mounts: of RUN.
        network, insecure: what ``--network`` and ``--security`` of RUN ask for.
        user, workdir, shell, env: those of RUN; of other steps, those that a RUN after it would have.
    """

    number: int
    instruction: str
    snapshot: str
    before: str
    kept: bool
    failed: bool
    cached: bool
    reason: str
    seconds: float
    size: int | None
    key: str
    stage: int
    stage_name: str
    first_line: int
    last_line: int
    args: list[str]
    user: str
    workdir: str
    shell: list[str]
    env: list[str]
    mounts: list[StepMountInfo] = []
    network: Literal["default", "none", "host"] = "default"
    insecure: bool = False


class StateChange(msgspec.Struct):
    """A path, without a leading ``/``, that differs between two states.

    ``\\xff`` in it is a byte that is not UTF-8.

    Attributes:
        before, after: size in bytes of the regular file; ``None`` for what is none, or is not there.
    """

    kind: Literal["added", "modified", "removed"]
    path: str
    before: int | None = None
    after: int | None = None


class Blame(msgspec.Struct, kw_only=True):
    """Who wrote a file.

    Attributes:
        path: with the links on the way to it followed.
        found: whether it is in the image; if not, the step is the one that removed it.
        image: id of the image whose build it was; of a base image, that itself.
        image_name: ``NAME:TAG``, or ``""``.
        step: its number; 0 for a base image, and where the step is no longer known.
        instruction: its text.
        snapshot: the first state with the file as it is.
        since: the earliest step that it can have been, where snapshots between were pruned; else ``step``.
    """

    path: str
    found: bool
    image: str
    image_name: str
    step: int
    instruction: str
    snapshot: str
    since: int


class BisectConfig(msgspec.Struct, kw_only=True):
    """First frame of ``/images/bisect``.

    Attributes:
        good: ``IMAGE[@SNAPSHOT]`` in which the command succeeds.
        bad: the same, in which it fails.
        command: argument vector. Exit status 0 is success, 125 says that the state cannot be judged.
        timeout: seconds after which a command has failed; 0 waits for ever.
    """

    good: str
    bad: str
    command: list[str]
    timeout: float = 0
