"""``klee image``: create, tag, rm, prune."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from kleene.cli.command import OneOf, command
from kleene.cli.output import each
from kleene.cli.session import Session, pass_session
from kleene.client.address import quote
from kleene.client.failures import OperationFailed

METHODS = ("fetch-auto", "fetch", "zfs-copy", "zfs-clone")


@command(
    examples=(
        "klee image create -t Debian fetch-auto",
        "klee image create -t base:12 fetch ./base.tar.zst",
        "klee image create -t base fetch https://example.org/rootfs.tar.xz",
        "klee image create -t web zfs-clone tank/web",
    )
)
@click.option("--tag", "-t", default="", metavar="NAME[:TAG]", help="Name of the image.")
@click.option("--dns/--no-dns", default=True, show_default=True, help="Copy /etc/resolv.conf.")
@click.option(
    "--localtime/--no-localtime", default=True, show_default=True, help="Copy /etc/localtime."
)
@click.option(
    "--update/--no-update", default=False, show_default=True, help="Update the image's packages."
)
@click.option(
    "--autotag/--no-autotag",
    "-a/ ",
    default=True,
    show_default=True,
    help="Name the image after the host's system (fetch-auto without --tag).",
)
@click.option(
    "--force", is_flag=True, help="Go on if the host's release is not certain (fetch-auto)."
)
@click.argument("method", metavar="METHOD", type=OneOf(METHODS))
@click.argument("source", required=False)
@pass_session
def create(session: Session, /, **options: Any) -> None:
    """Create a base image.

    \b
    METHOD is one of:
      fetch-auto  a userland that matches the host, from where the host gets its own
      fetch       SOURCE is an archive of a root file system: a URL or a file of this host
      zfs-copy    a copy of the dataset SOURCE (a subvolume where the storage is btrfs)
      zfs-clone   a clone of it
    """
    from kleene.cli.progress import progress_view

    config = creation_config(options)
    last: dict[str, Any] = {}
    with session.client.images.create(config) as stream, progress_view(session.fancy) as view:
        for event in stream:
            last = view(event) or last
    if last["type"] == "failed":
        raise OperationFailed(last)
    click.echo(last.get("message") or "image created")
    if last.get("data"):
        click.echo(last["data"])


def creation_config(options: dict[str, Any]) -> dict[str, Any]:
    """The ``ImageCreateConfig`` of the options of ``create``.

    Raises:
        UsageError: the method lacks its source, or has one that it does not use.
    """
    method, source = options["method"], options["source"]
    if method == "fetch-auto" and source:
        raise click.UsageError("the method 'fetch-auto' takes no SOURCE")
    if method != "fetch-auto" and not source:
        raise click.UsageError(f"the method '{method}' needs a SOURCE")
    return {
        "method": method,
        "tag": options["tag"],
        "url": _url(source) if method == "fetch" else "",
        "zfs_dataset": source if method.startswith("zfs") else "",
        "autotag": options["autotag"] and not options["tag"],
        **{k: options[k] for k in ("force", "dns", "localtime", "update")},
    }


def _url(source: str) -> str:
    """A file's path as the URL that the daemon reads it by; a URL as it is."""
    if "://" in source:
        return source
    path = os.path.abspath(source)  # noqa: PTH100 - pathlib is dear
    return "file://" + "/".join(quote(part) for part in path.split("/"))


@command(examples=("klee image tag 3f2a web:1.4", "klee image tag web:latest web:stable"))
@click.argument("source_image")
@click.argument("nametag")
@pass_session
def tag(session: Session, source_image: str, nametag: str) -> None:
    """Name SOURCE_IMAGE NAMETAG (NAME[:TAG]); an image that has this name loses it."""
    click.echo(session.client.images.tag(source_image, nametag))


@command(examples=("klee rmi web:latest", "klee image rm 3f2a 77b0"))
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@pass_session
def rm(session: Session, images: Sequence[str]) -> int:
    """Remove images."""
    return each(images, session.client.images.remove)
