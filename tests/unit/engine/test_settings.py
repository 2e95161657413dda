"""A container's settings: what is asked for over what the image says, and what cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from kleene.engine import settings
from kleene.errors import Conflict, InvalidInput
from kleene.runtime.options import Device
from kleene.schemas.images import ImageSettings
from kleene.schemas.settings import (
    ContainerSettings,
    DeviceConfig,
    HealthCheck,
    SettingsConfig,
    TmpfsConfig,
    Ulimit,
)
from tests.unit.metadata.test_metadata import CONTAINER

CHECK = HealthCheck(test=["true"], interval=10, retries=2)
IMAGE = ImageSettings(labels={"a": "1", "b": "2"}, healthcheck=CHECK)


def test_labels_and_the_health_check_come_from_the_image() -> None:
    plain = settings.of_new(SettingsConfig(), IMAGE)
    assert (plain.labels, plain.healthcheck) == ({"a": "1", "b": "2"}, CHECK)
    own = settings.of_new(SettingsConfig(labels={"b": "3", "c": ""}), IMAGE)
    assert own.labels == {"a": "1", "b": "3", "c": ""}


def test_an_image_whose_check_is_switched_off_has_none() -> None:
    assert (
        settings.of_new(SettingsConfig(), ImageSettings(healthcheck=HealthCheck())).healthcheck
        is None
    )


def test_a_health_check_is_asked_for_in_parts() -> None:
    config = SettingsConfig(healthcheck=HealthCheck(interval=1, timeout=2))
    merged = settings.of_new(config, IMAGE).healthcheck
    assert merged == HealthCheck(test=["true"], interval=1, timeout=2, retries=2)
    off = SettingsConfig(healthcheck=HealthCheck(test=["NONE"]))
    assert settings.of_new(off, IMAGE).healthcheck is None
    with pytest.raises(InvalidInput, match="there is no health check"):
        settings.of_new(config, ImageSettings())


def test_a_change_keeps_what_it_does_not_name() -> None:
    now = ContainerSettings(memory=10_000_000, labels={"a": "1"}, cap_add=["KILL"])
    new = settings.of_changed(now, SettingsConfig(cpus=2, labels={"b": "2"}))
    assert (new.memory, new.cpus, new.labels, new.cap_add) == (
        10_000_000,
        2,
        {"b": "2"},
        ["KILL"],
    )
    assert settings.of_changed(now, SettingsConfig(cap_add=[])).cap_add == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"hostname": "a_b"}, "host name 'a_b' is not valid"),
        ({"hostname": "a" * 64}, "is not valid"),
        ({"labels": {"": "x"}}, "has no name"),
        ({"stop_timeout": -1.0}, "stop timeout"),
        ({"tmpfs": [TmpfsConfig("run")]}, "tmpfs 'run'"),
        ({"tmpfs": [TmpfsConfig("/a/../..")]}, "tmpfs"),
        ({"tmpfs": [TmpfsConfig("/run", ["dev"])]}, "unknown option 'dev'"),
        ({"tmpfs": [TmpfsConfig("/run", ["size=1m,dev"])]}, "unknown option"),
        ({"add_hosts": ["db"]}, "host 'db' has no address"),
        ({"add_hosts": ["d b:10.0.0.1"]}, "no valid name"),
        ({"dns": ["one.one"]}, "'one.one' is not an IP address"),
        ({"dns": ["fe80::1%eth0\nnameserver 10.6.6.6"]}, "is not an IP address"),
        ({"add_hosts": ["db:fe80::1%a\n10.6.6.6 bank"]}, "is not an IP address"),
        ({"add_hosts": ["db:host-gateways"]}, "is not an IP address"),
        ({"dns_search": ["a b"]}, "'a b' cannot stand in resolv.conf"),
        ({"dns_options": ["ndots:1\nnameserver x"]}, "cannot stand in resolv.conf"),
        ({"group_add": ["a:b"]}, "'a:b' is not a group"),
        ({"shm_size": -1}, "/dev/shm is negative"),
        ({"cap_add": ["FLY"]}, "capability 'FLY'"),
    ],
)
def test_what_cannot_be(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        settings.of_new(SettingsConfig(**wrong), ImageSettings())


def test_what_the_runtime_is_given() -> None:
    found = settings.options(
        ContainerSettings(
            memory=10_000_000,
            ulimits=[Ulimit("nofile", 10, 20)],
            tmpfs=[TmpfsConfig("/run", ["size=1m"])],
            add_hosts=["db:10.0.0.1", "six:[fd00::1]"],
            dns=["10.0.0.53", "fe80::1%eth0"],
            devices=[DeviceConfig("/dev/fuse"), DeviceConfig("/dev/a", "/dev/b", "r")],
            seccomp="unconfined",
        )
    )
    assert found.devices == [Device("/dev/fuse", "/dev/fuse"), Device("/dev/a", "/dev/b", "r")]
    assert not found.seccomp
    assert found.limits.memory == 10_000_000
    assert (found.rlimits[0].name, found.rlimits[0].hard) == ("nofile", 20)
    assert (found.tmpfs[0].destination, found.tmpfs[0].options) == ("/run", ["size=1m"])
    assert found.hosts == [("db", "10.0.0.1"), ("six", "fd00::1")]
    assert found.dns == ["10.0.0.53", "fe80::1%eth0"]


def test_the_hosts_address() -> None:
    asked = ContainerSettings(add_hosts=["me:host-gateway", "db:10.0.0.1"])
    assert settings.asks_for_gateway(asked)
    assert not settings.asks_for_gateway(ContainerSettings(add_hosts=["db:10.0.0.1"]))
    assert settings.options(asked, "10.9.0.1").hosts == [("me", "10.9.0.1"), ("db", "10.0.0.1")]


def test_parameters_of_a_network_stack_need_one() -> None:
    own = ContainerSettings(sysctls={"net.core.somaxconn": "1", "kernel.shmmax": "1"})
    settings.check_driver(own, "ipnet")
    with pytest.raises(InvalidInput, match=r"'net\.core\.somaxconn' belongs to"):
        settings.check_driver(own, "host")


def test_restart_policies_that_do_not_fit() -> None:
    settings.check_policy("on-failure", ContainerSettings(restart_retries=3), auto_remove=False)
    settings.check_policy("on-startup", ContainerSettings(), auto_remove=True)
    with pytest.raises(InvalidInput, match="'on-failure' only"):
        settings.check_policy("always", ContainerSettings(restart_retries=3), auto_remove=False)
    with pytest.raises(Conflict, match="cannot be restarted"):
        settings.check_policy("always", ContainerSettings(), auto_remove=True)


def test_a_stop_signal_in_one_way() -> None:
    assert settings.stop_signal("quit") == "SIGQUIT"
    assert settings.stop_signal("") == ""
    with pytest.raises(InvalidInput, match="no such signal: 'LOUD'"):
        settings.stop_signal("LOUD")


def test_notes_name_what_waits_for_the_next_start() -> None:
    live = {"settings": ContainerSettings(memory=10_000_000), "persist": True}
    assert settings.notes(CONTAINER, live) == []
    later = {"settings": ContainerSettings(read_only=True, cap_add=["KILL"]), "env": ["B=1"]}
    assert settings.notes(CONTAINER, later) == [
        "takes effect at the next start: environment, capabilities, read-only root"
    ]
    assert settings.notes(CONTAINER, {"env": CONTAINER.env}) == []
