"""The wire types: what crosses the API, in both directions.

One module an object. Field names and defaults are those of the documented Kleened API; a field that
Kleene adds is optional and stands last. Only data: no behaviour, no I/O. Both the daemon and the client
import these, so they import nothing but msgspec and the standard library.
"""
