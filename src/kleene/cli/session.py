"""What the commands of one invocation of ``klee`` share: settings and the client, made when first used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from kleene.cli.output import is_terminal
from kleene.cli.settings import Settings, load_settings

if TYPE_CHECKING:
    from kleene.client.aio import AsyncClient
    from kleene.client.operations import JsonClient
    from kleene.client.transport import Tls


class Session:
    """One invocation of ``klee``.

    Args:
        flags: values of the root command's options; ``None`` for those not given.
    """

    def __init__(self, flags: Mapping[str, Any]) -> None:
        self._flags = flags

    @cached_property
    def settings(self) -> Settings:
        """The settings. Raises UnusableSetting."""
        return load_settings(self._flags, os.environ)

    @cached_property
    def client(self) -> JsonClient:
        """The client of the daemon. Raises UnusableSetting for a host that cannot be understood."""
        from kleene.client.operations import JsonClient

        return JsonClient(self.settings.host, tls=self._tls)

    @cached_property
    def async_client(self) -> AsyncClient:
        """The same for many requests at a time."""
        from kleene.client.aio import AsyncClient

        return AsyncClient(self.settings.host, tls=self._tls)

    @property
    def _tls(self) -> Tls:
        from kleene.client.transport import Tls

        s = self.settings
        return Tls(s.tlsverify, s.tlscacert, s.tlscert, s.tlskey)

    @property
    def uploads(self) -> bool:
        """Whether the files of a build are sent: told so, or to a daemon that is reached over a network."""
        wanted = self.settings.upload
        return wanted == "always" or (wanted == "auto" and self.client.address.path is None)

    @property
    def is_local(self) -> bool:
        """Whether the daemon is reached by a unix socket, and so is on this host."""
        return self.client.address.path is not None

    @property
    def fancy(self) -> bool:
        """Whether output may have lines and colours: asked for, and going to a terminal."""
        return self.settings.theme == "fancy" and is_terminal()


pass_session = click.make_pass_decorator(Session)
