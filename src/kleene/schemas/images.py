"""Images on the wire. Documented API: Image, ImageBuildConfig, ImageCreateConfig."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from kleene.schemas.common import BuildSecret
from kleene.schemas.containers import ContainerConfig
from kleene.schemas.networks import EndPointConfig
from kleene.schemas.settings import HealthCheck
from kleene.schemas.space import ImageSize

Entitlement = Literal["network.host", "security.insecure"]
CreateMethod = Literal["fetch", "fetch-auto", "zfs-copy", "zfs-clone"]


class ImageSettings(msgspec.Struct, kw_only=True):
    """What an image says of itself and its containers, beyond the documented API.

    Attributes:
        entrypoint: what is put before the command.
        labels: name -> value.
        exposed_ports: ``PORT[-PORT]/PROTOCOL``. They tell readers what there is to publish.
        volumes: directories; each container gets a volume of its own for each of them.
        stop_signal: asks its processes to end: a name such as ``SIGQUIT``, or a number; ``""`` is SIGTERM.
        shell: what shell forms are given to in builds from this image; ``[]`` is ``/bin/sh -c``.
        healthcheck: ``None`` if there is none.
        onbuild: instructions for the builds that start from this image.
    """

    entrypoint: list[str] = []
    labels: dict[str, str] = {}
    exposed_ports: list[str] = []
    volumes: list[str] = []
    stop_signal: str = ""
    shell: list[str] = []
    healthcheck: HealthCheck | None = None
    onbuild: list[str] = []


class Image(ImageSettings):
    """An image.

    Attributes:
        instructions: pairs of an instruction's text and the snapshot taken after it (``""`` for none).
        workdir: working directory of ``cmd``.
        snapshot: the snapshot that containers are cloned from when none is named.
        parent: ``ID@SNAPSHOT`` that the build started from; ``""`` for a base image.
        size: on disk; ``None`` unless it was asked for.
    """

    id: str
    name: str
    tag: str
    dataset: str
    created: str
    cmd: list[str]
    env: list[str]
    user: str
    instructions: list[list[str]]
    workdir: str = "/"
    snapshot: str = ""
    parent: str = ""
    size: ImageSize | None = None


class NamedContext(msgspec.Struct):
    """What a build is given beside its context, by a name.

    Attributes:
        context: as in ``ImageBuildConfig``; or ``docker-image://IMAGE``, an image of this daemon.
        upload: as there.
    """

    context: str = ""
    upload: str = ""


class ImageBuildConfig(msgspec.Struct):
    """A build that is asked for.

    Attributes:
        context: absolute path on the daemon's host; or the URL of a tar archive, a Dockerfile or a git
            repository (``URL#REF:SUBDIRECTORY``); ``""`` for a context without files.
        upload: id of a context that was uploaded (``ContextOffer``), in place of ``context``.
        dockerfile: path of the Dockerfile, relative to the context.
        dockerfile_content: the Dockerfile itself, in base64; ``dockerfile`` is only its name then.
        tag: ``NAME[:TAG]``; ``""`` leaves the image untagged.
        buildargs: values for ``ARG``.
        cleanup: remove what was built if the build fails; else it is kept as ``NAME:failed``.
        quiet: send no build output.
        container_config: configures the build container; its ``image`` replaces the one in ``FROM``.
        networks: networks of the build container; the container in them is ignored.
        no_cache: run every step, whatever the cache holds.
        target: name or number of the stage to build; ``""`` is the last one.
        check: tell the warnings of the Dockerfile, and build nothing.
        no_cache_filter: names or numbers of stages whose steps are run, whatever the cache holds.
        cache_last_step: number of the last step that may be taken from the cache; ``None`` is all.
        parallel: how many stages are built at a time; 0 is one for each core of the daemon's host.
        ordered: tell stages that are built at the same time one after the other.
        resume: a failed image, ``IMAGE[@SNAPSHOT]``, or a container made from one: the steps before its state
            are taken over, as far as the Dockerfile still has them; ``""`` begins anew.
        secrets: for ``RUN --mount=type=secret``, by id; kept in memory while the build lasts.
        ssh: for ``RUN --mount=type=ssh``, by id: sockets of agents on the daemon's host.
        allow: what steps may ask for beyond the rule: ``network.host``, ``security.insecure``.
        labels: of the image, beside those of the Dockerfile, and over them.
        contexts: what FROM and ``--from`` find by these names, before stages and images.
    """

    context: str
    container_config: ContainerConfig
    dockerfile: str = "Dockerfile"
    tag: str = ""
    buildargs: dict[str, str] = {}
    cleanup: bool = True
    quiet: bool = False
    networks: list[EndPointConfig] = []
    no_cache: bool = False
    target: str = ""
    check: bool = False
    no_cache_filter: list[str] = []
    cache_last_step: int | None = None
    parallel: Annotated[int, msgspec.Meta(ge=0)] = 0
    ordered: bool = False
    resume: str = ""
    upload: str = ""
    dockerfile_content: bytes | None = None
    secrets: dict[str, BuildSecret] = {}
    ssh: dict[str, str] = {}
    allow: list[Entitlement] = []
    labels: dict[str, str] = {}
    contexts: dict[str, NamedContext] = {}


class ImageCreateConfig(msgspec.Struct):
    """A base image that is asked for.

    Attributes:
        method: ``fetch``, ``fetch-auto``, ``zfs-copy`` or ``zfs-clone``; the last two take a
            btrfs subvolume where the storage is btrfs.
        tag: ``NAME[:TAG]``; ``""`` derives it (``fetch-auto``) or leaves the image untagged.
        url: archive of a root file system, for ``fetch``.
        zfs_dataset: source of ``zfs-copy`` and ``zfs-clone``.
        force: go on although the host's release is not known for certain (``fetch-auto``).
        autotag: derive the tag from the host even if ``tag`` is given (``fetch-auto``).
        dns: copy the host's ``/etc/resolv.conf``.
        localtime: copy the host's ``/etc/localtime``.
        update: bring the packages of the new image up to date, where it has a package manager
            that Kleene knows.
    """

    method: CreateMethod
    tag: str = ""
    url: str = ""
    zfs_dataset: str = ""
    force: bool = False
    autotag: bool = False
    dns: bool = True
    localtime: bool = True
    update: bool = True
