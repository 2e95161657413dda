"""Fixed values of the wire, apart from the types: ``klee`` knows them without importing msgspec."""

from __future__ import annotations

SUBPROTOCOL = "kleene.stream.v1"
STDIN, STDOUT, STDERR = 0, 1, 2

CLOSE_DONE, CLOSE_DETACHED, CLOSE_INVALID, CLOSE_FAILED = 1000, 1001, 1002, 1011

AUTO = "<auto>"
"""In place of an address: take an unused one from the subnet."""

HOST_GATEWAY = "<host-gateway>"
"""In place of an interface: the one that has the host's default route."""

BLOB_HEADER = ">32sQQ"
"""Header of a content of a build context (``struct`` format): its SHA-256, where in it the data that follows
begins, and how many bytes that is."""
