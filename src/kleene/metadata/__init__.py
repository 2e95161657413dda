"""Metadata: what Kleene knows of its objects, in one SQLite database; a module per object."""
