"""TLS of the API's sockets: what the configuration names, loaded."""

from __future__ import annotations

import ssl

from kleene.daemon.config import Listener
from kleene.errors import InvalidInput


def tls_context(listener: Listener) -> ssl.SSLContext:
    """What a socket needs for TLS 1.2 and later.

    Raises:
        InvalidInput: a certificate or key cannot be used.
    """
    assert listener.tlscert is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
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
