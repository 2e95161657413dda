"""For every test that works on the real host: it must leave nothing behind there."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import hypothesis
import pytest

from tests.support import baseline

# No test is about time: on a busy machine any example may take long.
hypothesis.settings.register_profile(
    "kleene", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("kleene")


def _is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


@pytest.fixture(scope="session", autouse=True)
def _mark_of_this_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    baseline.mark(str(tmp_path_factory.getbasetemp()))


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard() -> None:
    """A shell has what it runs in the background ignore SIGINT, and children inherit that (signal(7))."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def _module_leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """The same as below for a whole module: it also covers what its tests share."""
    items = [
        item for item in request.session.items if item.getparent(pytest.Module) is request.node
    ]
    if not any(map(_is_slow, items)):
        yield
        return
    before = baseline.take()
    yield
    if left := baseline.left_since(before, by_one_test=False):
        pytest.fail("the tests of this module left behind:\n" + "\n".join(left), pytrace=False)


@pytest.fixture(autouse=True)
def _leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a slow test that leaves a mount, link, firewall table, cgroup, process or the like."""
    if not _is_slow(request.node):
        yield
        return
    before = baseline.take()
    yield
    if left := baseline.left_since(before, by_one_test=True):
        pytest.fail("the test left behind:\n" + "\n".join(left), pytrace=False)
