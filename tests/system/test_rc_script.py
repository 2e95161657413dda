"""The script of rc.d with a real daemon, by the contract of rc.subr(8), with stand-ins for FreeBSD."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import BIN, Daemon, wait_until

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "packaging" / "kleened.rc"

# What the manual page says of these functions and variables, as far as the script uses them.
RC_SUBR = r"""
load_rc_config() { . "$RC_CONF"; }

# The process id in the file $1, if that process is the interpreter $3 at the script $2.
check_pidfile() {
    [ -s "$1" ] || return 0
    _pid=$(cat "$1")
    _line=$(ps -ww -o args= -p "$_pid") || return 0
    case "$_line" in "$3 $2"|"$3 $2 "*) echo "$_pid" ;; esac
}

run_rc_command() {
    rc_pid=$(check_pidfile "$pidfile" "$procname" "$command_interpreter")
    eval "_enabled=\$$rcvar"
    case "$_enabled" in [Yy][Ee][Ss]) ;; *) echo "$name is not enabled"; return 1 ;; esac
    case " start stop restart status $extra_commands " in
        *" $1 "*) ;;
        *) echo "unknown directive '$1'" >&2; return 1 ;;
    esac
    eval "_own=\${${1}_cmd:-}"
    if [ -n "$_own" ]; then eval "$_own"; return; fi
    case "$1" in
        start)
            if [ -n "$rc_pid" ]; then echo "$name already running? (pid=$rc_pid)"; return 1; fi
            eval "$command $command_args" ;;
        stop)
            if [ -z "$rc_pid" ]; then echo "$name not running?"; return 1; fi
            kill -TERM "$rc_pid"
            while kill -0 "$rc_pid" 2>/dev/null; do sleep 0.05; done ;;
        restart) ( run_rc_command stop ); run_rc_command start ;;
        status)
            if [ -z "$rc_pid" ]; then echo "$name is not running."; return 1; fi
            echo "$name is running as pid $rc_pid." ;;
        reload) kill -"$sig_reload" "$rc_pid" ;;
    esac
}
"""

# daemon(8): -f to /dev/null, -p the child's process id, -o its output.
DAEMON = """#!/bin/sh
while getopts fp:o: option; do
    case $option in p) pid=$OPTARG ;; o) log=$OPTARG ;; *) ;; esac
done
shift $((OPTIND - 1))
setsid "$@" </dev/null >>"$log" 2>&1 &
echo $! >"$pid"
"""


@pytest.fixture
def service(new_daemon: Callable[[], Daemon]) -> Iterator[tuple[Daemon, Path]]:
    """A daemon that does not run, and the script that starts it."""
    daemon = new_daemon()
    daemon.stop()
    home = daemon.home
    (home / "rc.subr").write_text(RC_SUBR)
    (home / "daemon").write_text(DAEMON)
    (home / "daemon").chmod(0o755)
    (home / "rc.conf").write_text(
        f'kleened_enable="YES"\nkleened_args="--config {home / "config.yaml"}"\n'
    )
    text = SCRIPT.read_text()
    for path, ours in {
        "/etc/rc.subr": home / "rc.subr",
        "/usr/sbin/daemon": home / "daemon",
        "/usr/local/bin/kleened": BIN / "kleened",
        "/var/run/": f"{home}/",
        "/var/log/": f"{home}/",
    }.items():
        assert path in text
        text = text.replace(path, str(ours))
    script = home / "kleened.rc"
    script.write_text(text)
    script.chmod(0o755)
    yield daemon, script
    rc(script, "stop")


def rc(script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RC_CONF": str(script.with_name("rc.conf"))}
    return subprocess.run(
        [script, *words], capture_output=True, text=True, check=False, env=environment, timeout=60
    )


def test_rc_script(service: tuple[Daemon, Path]) -> None:
    daemon, script = service
    assert rc(script, "status").returncode == 1
    assert rc(script, "start").returncode == 0
    log = daemon.home / "kleened.log"
    wait_until(lambda: "ready on" in log.read_text(), "the daemon is not ready")
    pid = (daemon.home / "kleened.pid").read_text().strip()
    assert rc(script, "status").stdout == f"kleened is running as pid {pid}.\n"
    assert "tiny" in daemon.klee("lsi").stdout
    assert rc(script, "start").returncode == 1, "it runs already"
    assert rc(script, "reload").returncode == 0
    wait_until(lambda: "the configuration was read again" in log.read_text(), "it is not read")
    assert "the configuration is valid" in rc(script, "configtest").stdout
    assert rc(script, "restart").returncode == 0
    wait_until(lambda: log.read_text().count("ready on") == 2, "the daemon is not ready again")
    assert (daemon.home / "kleened.pid").read_text().strip() != pid
    assert rc(script, "stop").returncode == 0
    assert rc(script, "status").returncode == 1
    (daemon.home / "rc.conf").write_text("")
    assert rc(script, "start").returncode == 1, "it is not enabled"
