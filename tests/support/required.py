"""What a test needs of the host: missing, it skips the test, unless the environment calls it required.

``KLEENE_REQUIRED`` is a comma-separated list (``btrfs,zfs,nftables,oci,published-client,buildah,atheris,
ssh``). A run that must prove these sets it, and a test that would have been skipped for want of one
fails instead.
"""

from __future__ import annotations

import os

import pytest


def required() -> frozenset[str]:
    """The capabilities that this run may not do without."""
    names = os.environ.get("KLEENE_REQUIRED", "").split(",")
    return frozenset(name.strip() for name in names if name.strip())


def require(capability: str, available: bool, reason: str) -> None:
    """Skip the running test unless ``available``; fail it if ``capability`` is required of this run.

    Args:
        reason: why the capability is missing, for the report.
    """
    if available:
        return
    if capability in required():
        pytest.fail(f"'{capability}' is required, but {reason}", pytrace=False)
    pytest.skip(f"no {capability}: {reason}")
