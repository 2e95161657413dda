"""Kleene: build container images and run them, every state a filesystem snapshot."""

__version__ = "0.1.0"
