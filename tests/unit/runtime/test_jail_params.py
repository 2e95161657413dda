"""Jail parameters on Linux: honoured or refused by name, never passed over."""

from __future__ import annotations

import pytest

from kleene.errors import InvalidInput
from kleene.runtime.jail_params import PARAMETERS, Adjustments, adjustments, table


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, Adjustments()),
        ({"host.hostname": "web.example"}, Adjustments(hostname="web.example")),
        ({"host.domainname": "nis"}, Adjustments(domainname="nis")),
        ({"exec.jail_user": "1000:33"}, Adjustments(user="1000:33")),
        ({"allow.raw_sockets": "true"}, Adjustments(added=frozenset({"CAP_NET_RAW"}))),
        ({"allow.raw_sockets": "1"}, Adjustments(added=frozenset({"CAP_NET_RAW"}))),
        ({"allow.noraw_sockets": "true"}, Adjustments(dropped=frozenset({"CAP_NET_RAW"}))),
        ({"allow.chflags": "true"}, Adjustments(added=frozenset({"CAP_LINUX_IMMUTABLE"}))),
        ({"allow.mlock": "TRUE"}, Adjustments(added=frozenset({"CAP_IPC_LOCK"}))),
        ({"allow.suser": "false"}, Adjustments(bare=True)),
        (
            {"allow.reserved_ports": "false"},
            Adjustments(dropped=frozenset({"CAP_NET_BIND_SERVICE"}), low_ports=False),
        ),
        ({"mount.devfs": "true", "exec.clean": "true", "allow.sysvipc": "true"}, Adjustments()),
        ({"allow.mount": "false", "allow.nomount": "true"}, Adjustments()),
        ({"exec.stop": ""}, Adjustments()),
        ({"exec.nostop": "true"}, Adjustments()),
        ({"children.max": "0", "enforce_statfs": "1", "sysvshm": "new"}, Adjustments()),
    ],
)
def test_honoured(params: dict[str, str], expected: Adjustments) -> None:
    assert adjustments(params) == expected


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("exec.prestart", "rm -rf /", "runs no command on the host"),
        ("exec.poststop", "true", "runs no command on the host"),
        ("allow.mount", "true", "CAP_SYS_ADMIN"),
        ("allow.mount.zfs", "true", "CAP_SYS_ADMIN"),
        ("mount.nodevfs", "true", "cannot do without"),
        ("mount.devfs", "false", "cannot do without"),
        ("exec.noclean", "true", "environment"),
        ("allow.nosysvipc", "true", "cannot be taken away"),
        ("allow.set_hostname", "true", "CAP_SYS_ADMIN"),
        ("ip4.addr", "10.0.0.1", "networks and addresses"),
        ("children.max", "5", "container in a container"),
        ("securelevel", "2", "FreeBSD's kernel"),
        ("osrelease", "14.0-RELEASE", "FreeBSD's kernel"),
        ("sysvmsg", "inherit", "always its own"),
        ("exec.stop", "/bin/sh /etc/rc.shutdown", "by signals"),
        ("path", "/", "Kleene sets it itself"),
        ("persist", "true", "Kleene sets it itself"),
    ],
)
def test_refused_by_name_with_the_reason(name: str, value: str, words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        adjustments({name: value})
    assert name.replace("no", "")[:6] in error.value.message.replace("no", "")
    assert words in error.value.message


@pytest.mark.parametrize(
    "name",
    [
        "nonesuch",
        "allow.nonesuch",
        "allow",
        "",
        "no",
        "exec.nojail_user",
        "nohost.hostname",
        "node",
    ],
)
def test_unknown(name: str) -> None:
    with pytest.raises(InvalidInput, match="is not known"):
        adjustments({name: "true"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allow.raw_sockets", "maybe"),
        ("allow.noraw_sockets", "false"),
        ("host.hostname", "two words"),
        ("host.hostname", "line\nbreak"),
        ("host.hostname", ""),
        ("host.hostname", "a" * 64),
        ("host.domainname", "-"),
    ],
)
def test_values_that_cannot_be(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=r"cannot be|takes no value"):
        adjustments({name: value})


def test_of_opposite_changes_the_last_counts() -> None:
    both = adjustments({"allow.raw_sockets": "true", "allow.noraw_sockets": "true"})
    assert both == Adjustments(dropped=frozenset({"CAP_NET_RAW"}))


def test_the_table_can_be_printed() -> None:
    rows = table()
    assert len(rows) == len(PARAMETERS) > 60
    for name, meaning, _ in rows:
        assert meaning.endswith("."), name
    for parameter in PARAMETERS.values():
        if parameter.meaning == "Refused.":
            assert parameter.why, parameter.name
