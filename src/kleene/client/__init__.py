"""The client of Kleene's API: a library of its own, and what the ``klee`` command is built on.

``kleene.client.api.Client`` answers with the wire types; ``kleene.client.operations.JsonClient`` with
plain JSON values, and is quicker to import. Everything is synchronous: a client owns one connection
for requests, made at the first one, and each stream owns another.
"""
