"""Tests on a kernel of their own: ``python -m tests.vm`` (``make vm-test``)."""
