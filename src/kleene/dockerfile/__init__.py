"""The Dockerfile language: text to instructions with their places in the text, and ``$VAR`` expansion.

Pure. The way through it: :mod:`source` (bytes to text) -> :mod:`parser` (text to statements) ->
:mod:`instructions` (statements to typed instructions) -> :mod:`expand` (words to their values, when the
variables are known: ``kleene.build.plan``). Every refusal is a ``DockerfileError`` that shows its place.
"""
