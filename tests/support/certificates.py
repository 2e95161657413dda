"""Certificates for tests, made by the openssl command."""

from __future__ import annotations

import subprocess
from pathlib import Path


def certify(home: Path) -> Path:
    """Make an authority and two certificates of it in ``home``, for a server and for a client; ``home``."""
    home.mkdir(exist_ok=True)
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    authority = [*new, "-x509", "-days", "2", "-subj", "/CN=authority", "-out", "ca.pem"]
    commands = [[*authority, "-keyout", "ca.key"]]
    for name in ("server", "client"):
        commands.append(
            [*new, "-x509", "-days", "2", "-subj", f"/CN={name}", "-CA", "ca.pem", "-CAkey", "ca.key",
             "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
             "-addext", "basicConstraints=critical,CA:FALSE",
             "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        )  # fmt: skip
    for command in commands:
        subprocess.run(command, cwd=home, check=True, capture_output=True)
    return home
