"""TLS of the API's sockets: what the configuration names, loaded."""

from __future__ import annotations

import ssl

from kleene.daemon.config import Listener
from kleene.errors import InvalidInput


class LiveTls:
    """The TLS of a socket that is open: its certificates can be exchanged.

    Connections that exist keep what they have. Whether clients must show a certificate stays as it was
    when the socket was opened.

    Attributes:
        context: what the server is given.
    """

    def __init__(self, listener: Listener) -> None:
        self.context = self._current = tls_context(listener)
        # OpenSSL asks this of every handshake, with a server name or without one.
        self.context.sni_callback = self._choose

    def load(self, listener: Listener) -> ssl.SSLContext:
        """The files of ``listener``, for :meth:`use`. Raises InvalidInput if they cannot be used."""
        return tls_context(listener)

    def use(self, context: ssl.SSLContext) -> None:
        """Have new connections served by ``context``."""
        self._current = context

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._current


def tls_context(listener: Listener) -> ssl.SSLContext:
    """What a socket needs for TLS 1.2 and later.

    Raises:
        InvalidInput: a certificate or key cannot be used.
    """
    assert listener.tlscert is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # A resumed session would be believed without a look at who may connect by now.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        context.load_cert_chain(listener.tlscert, listener.tlskey)
        if listener.tlscacert is not None:
            context.load_verify_locations(listener.tlscacert)
        if listener.tlsdh is not None:
            context.load_dh_params(str(listener.tlsdh))
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(
            f"socket '{listener.address}' cannot use its certificate: {error}",
            hint="tlscert, tlskey, tlscacert and tlsdh must be readable PEM files that fit together",
        ) from error
    if listener.tlsverify:
        context.verify_mode = ssl.CERT_REQUIRED
    return context
