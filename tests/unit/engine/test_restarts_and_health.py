"""When a container starts by itself, and what health checks add up to: the decisions alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kleene.engine.health_state import after, pause, timeout
from kleene.engine.restarts import delay, is_due, starts_with_daemon
from kleene.metadata.containers import ContainerRecord
from kleene.schemas.settings import (
    ContainerSettings,
    Health,
    HealthCheck,
    HealthResult,
    RestartPolicy,
)
from tests.unit.metadata.test_metadata import CONTAINER


def container(
    policy: RestartPolicy,
    code: int | None,
    *,
    wanted: bool = True,
    count: int = 0,
    retries: int = 0,
) -> ContainerRecord:
    return replace(
        CONTAINER,
        restart_policy=policy,
        exit_code=code,
        wanted=wanted,
        restart_count=count,
        settings=ContainerSettings(restart_retries=retries),
    )


def test_the_delay_doubles_up_to_a_minute() -> None:
    assert [delay(n) for n in range(4)] == [0.1, 0.2, 0.4, 0.8]
    assert delay(9) < delay(10) == delay(100_000) == 60


@pytest.mark.parametrize(
    ("record", "due"),
    [
        (container("no", 1), False),
        (container("on-startup", 1), False),
        (container("on-failure", 1), True),
        (container("on-failure", 0), False),
        (container("on-failure", 1, count=2, retries=3), True),
        (container("on-failure", 1, count=3, retries=3), False),
        (container("always", 0), True),
        (container("unless-stopped", 0), True),
        (container("always", 1, wanted=False), False),
        (container("on-failure", 1, wanted=False), False),
    ],
)
def test_what_is_restarted(record: ContainerRecord, due: bool) -> None:
    assert is_due(record) is due


@pytest.mark.parametrize(
    ("record", "starts"),
    [
        (container("no", 1), False),
        (container("on-startup", 0, wanted=False), True),
        (container("always", 0, wanted=False), True),
        (container("unless-stopped", 0, wanted=False), False),
        (container("unless-stopped", 0), True),
        (container("on-failure", 1), True),
        (container("on-failure", 0), False),
        (container("on-failure", None), False),
        (container("on-failure", 1, wanted=False), False),
        (container("on-failure", 1, count=3, retries=3), False),
    ],
)
def test_what_starts_with_the_daemon(record: ContainerRecord, starts: bool) -> None:
    assert starts_with_daemon(record, interrupted=False) is starts


def test_what_ran_when_the_host_went_down_failed() -> None:
    assert starts_with_daemon(container("on-failure", 0), interrupted=True)
    assert not starts_with_daemon(container("no", 0), interrupted=True)


# --- Health

CHECK = HealthCheck(test=["true"], interval=10, start_period=20, start_interval=2, retries=2)
GOOD, BAD, HUNG = (HealthResult("then", "now", code, "") for code in (0, 1, None))


def test_failures_do_not_count_in_the_start_period() -> None:
    health = Health()
    for _ in range(5):
        health = after(health, BAD, CHECK, age=19)
    assert (health.status, health.failures) == ("starting", 0)
    assert after(health, GOOD, CHECK, age=19).status == "healthy"


def test_the_first_success_ends_the_start_period() -> None:
    health = after(Health("healthy"), BAD, CHECK, age=5)
    assert (health.status, health.failures) == ("healthy", 1)
    assert after(health, HUNG, CHECK, age=6).status == "unhealthy"


def test_failures_in_a_row_and_back() -> None:
    health = after(Health(), BAD, CHECK, age=21)
    assert (health.status, health.failures) == ("starting", 1)
    health = after(health, HUNG, CHECK, age=31)
    assert (health.status, health.failures) == ("unhealthy", 2)
    health = after(health, GOOD, CHECK, age=41)
    assert (health.status, health.failures) == ("healthy", 0)
    for _ in range(10):
        health = after(health, GOOD, CHECK, age=51)
    assert len(health.log) == 5


def test_times() -> None:
    assert pause(CHECK, Health(), age=19) == 2
    assert pause(CHECK, Health(), age=21) == 10
    assert pause(CHECK, Health("healthy"), age=19) == 10
    assert pause(HealthCheck(["true"]), Health(), age=0) == 30
    assert timeout(HealthCheck(["true"])) == 30
    assert timeout(HealthCheck(["true"], timeout=2)) == 2
