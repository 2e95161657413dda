"""The client of Kleene's API: a library of its own, and what the ``klee`` command is built on.

Public, with the types of ``kleene.schemas`` and the errors of ``kleene.errors``:

- ``kleene.client.api.Client``: synchronous; owns one connection for requests, made at the first one, and one
  for each stream.
- ``kleene.client.aio.AsyncClient``: the same operations for asyncio; a connection for each.
- ``kleene.client.streams.Output``, ``kleene.client.transport.Tls``, the errors of ``kleene.client.failures``.

docs/sdk.md has examples. ``kleene.client.operations.JsonClient`` answers with plain JSON values and is
quicker to import: ``klee`` uses it.
"""
