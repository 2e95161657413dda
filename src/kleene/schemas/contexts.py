"""Build contexts that a client uploads, on the wire.

The list of a context, which :mod:`kleene.contexts.manifest` describes, goes first; the answer tells which
contents are missing. Those follow as one body of frames, each a header and data.
"""

from __future__ import annotations

import msgspec

from kleene.schemas.constants import BLOB_HEADER as BLOB_HEADER


class ContextOffer(msgspec.Struct):
    """What the daemon has of a context.

    Attributes:
        id: names the context in ``ImageBuildConfig.upload``.
        missing: the contents to be sent, by SHA-256 in hex; and how many bytes of each it has already.
    """

    id: str
    missing: dict[str, int] = {}
