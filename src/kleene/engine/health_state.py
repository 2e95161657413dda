"""What health checks add up to: starting, healthy or unhealthy. Pure.

As Docker has it: in the start period a failure does not count, and the first success ends it; later so many
failures in a row make a container unhealthy, and one success makes it healthy again.
"""

from __future__ import annotations

from kleene.schemas.settings import Health, HealthCheck, HealthResult

_INTERVAL = _TIMEOUT = 30.0
_START_INTERVAL = 5.0
_RETRIES = 3
_KEPT = 5
"""Results that are kept."""


def timeout(check: HealthCheck) -> float:
    """Seconds that a check may take."""
    return check.timeout or _TIMEOUT


def pause(check: HealthCheck, health: Health, age: float) -> float:
    """Seconds from the end of one check, or the start of the container, to the next check.

    Args:
        age: seconds since the container was started.
    """
    interval = check.interval or _INTERVAL
    if health.status == "starting" and age < check.start_period:
        return min(check.start_interval or _START_INTERVAL, interval)
    return interval


def after(health: Health, result: HealthResult, check: HealthCheck, age: float) -> Health:
    """How a container is after a check."""
    log = [*health.log, result][-_KEPT:]
    if result.exit_code == 0:
        return Health("healthy", 0, log)
    if health.status == "starting" and age < check.start_period:
        return Health("starting", 0, log)
    failures = health.failures + 1
    unhealthy = failures >= (check.retries or _RETRIES)
    return Health("unhealthy" if unhealthy else health.status, failures, log)
