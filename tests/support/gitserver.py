"""Git repositories made and served for tests: over HTTP, as plain files or by git's own CGI."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

_ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{who}_NAME": "somebody" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "somebody@localhost" for who in ("AUTHOR", "COMMITTER")},
}


class Repository:
    """A working tree with its repository; ``NAME.git`` beside it is what a server shows.

    Args:
        directory: of the server.
    """

    def __init__(self, directory: Path, name: str = "repo") -> None:
        self.tree = directory / name
        self.bare = directory / f"{name}.git"
        self.tree.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str | Path) -> str:
        """Run git in the tree; what it says."""
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *map(str, arguments)],
            cwd=self.tree,
            env=_ENV,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, **files: str) -> str:
        """Commit files, named with ``__`` for ``/`` and ``_dot_`` for ``.``; the commit's id."""
        for name, text in files.items():
            path = self.tree / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=work")
        return self.publish()

    def publish(self) -> str:
        """Bring ``NAME.git`` up to date; the present commit's id."""
        if not self.bare.exists():
            self.git("clone", "--quiet", "--bare", self.tree, self.bare)
        refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        self.git("--git-dir", self.bare, "fetch", "--quiet", self.tree, *refs)
        self.git("--git-dir", self.bare, "update-server-info")
        return self.git("rev-parse", "HEAD")


class _Files(http.server.SimpleHTTPRequestHandler):
    """The dumb protocol: files and nothing else."""

    def log_message(self, *_: object) -> None:
        pass


class _Backend(_Files):
    """The smart protocol, by git-http-backend(1)."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        env = {
            **_ENV,
            "GIT_PROJECT_ROOT": self.directory,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        said = subprocess.run(
            ["git", "http-backend"], input=body, env=env, capture_output=True, check=True
        ).stdout
        head, _, content = said.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def served(directory: Path, *, smart: bool = False) -> Iterator[str]:
    """Serve the repositories in a directory; the URL that their names are put after."""
    handler = functools.partial(_Backend if smart else _Files, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
