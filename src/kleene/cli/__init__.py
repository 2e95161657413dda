"""``klee``, the command line of Kleene.

``main`` owns the process: exit statuses and how errors look. The other modules hold one group of commands
each and are imported when one of their commands runs, so that a command pays only for what it uses.
"""
