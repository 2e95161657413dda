"""Requests of all kinds that the API's description allows, and some that it does not, against a real daemon.

No answer is an internal error, and every one is as the description says.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from kleene.client.api import Client
from kleene.errors import Conflict
from kleene.schemas.containers import ContainerConfig
from kleene.schemas.networks import NetworkConfig
from kleene.schemas.versions import API_VERSION, HEADER
from kleene.schemas.volumes import VolumeConfig
from tests.support import baseline
from tests.support.daemon import Daemon, unused_network
from tests.support.required import require
from tests.system.conftest import add_tiny

pytestmark = pytest.mark.slow

EXAMPLES = 8
"""Requests for each operation."""

KNOWN = {
    "container_id": "box",
    "container": "box",
    "network": "lan",
    "image_id": "tiny",
    "network_id": "lan",
    "volume_name": "data",
    "name": "data",
    "image": "tiny",
}
"""What half of the requests name: something that is there."""


@pytest.fixture
def served(host: None, tiny_archive: Path) -> Iterator[Daemon]:
    """A daemon with an object of each kind, on TCP as well."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    daemon = Daemon(port=port)
    for mark in daemon.marks:
        baseline.mark(mark)
    try:
        daemon.start()
        add_tiny(daemon, tiny_archive)
        yield daemon
    finally:
        daemon.destroy()


def prepare(daemon: Daemon, archive: Path) -> None:
    """Make what the requests name, where it is missing."""
    with Client(f"http://{daemon.socket}") as client:
        if not any(image.name == "tiny" for image in client.images.list()):
            add_tiny(daemon, archive)
        with contextlib.suppress(Conflict):
            client.containers.create(ContainerConfig(image="tiny", name="box", cmd=["true"]))
        if not any(network.name == "lan" for network in client.networks.list()):
            client.networks.create(NetworkConfig("lan", "loopback", f"{unused_network()}.0/28"))
        client.volumes.create(VolumeConfig("data"))


def test_every_answer_is_as_described(served: Daemon, tiny_archive: Path) -> None:
    try:
        schemathesis: Any = import_module("schemathesis")
    except ImportError:
        require("schemathesis", False, "'schemathesis' is not installed")
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{served.port}/openapi.json")
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    found: list[str] = []
    reached = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        prepare(served, tiny_archive)
        for mode in modes:
            with contextlib.suppress(hypothesis.errors.Unsatisfiable):
                wrong, succeeded = faults(operation, mode)
                found += wrong
                reached += succeeded
    log = served.log
    assert not found, "\n".join(found)
    assert "internal error" not in log, log[-5000:]
    assert reached > 30, "too few requests were answered with success"


def faults(operation: Any, mode: Any) -> tuple[list[str], int]:
    """What is wrong with the answers to requests of one operation, and how many told of success."""
    found: list[str] = []
    statuses: list[int] = []

    @hypothesis.settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(
        case=operation.as_strategy(generation_mode=mode), known=hypothesis.strategies.booleans()
    )
    def ask(case: Any, known: bool) -> None:
        if known:
            name_what_is_there(case)
        answer = case.call(headers={HEADER: API_VERSION})
        statuses.append(answer.status_code)
        if fault := fault_of(operation, answer):
            found.append(f"{operation.label}: {fault}\n  {case.as_curl_command()}")

    ask()
    return found[:3], sum(200 <= status < 300 for status in statuses)


def name_what_is_there(case: Any) -> None:
    """Have a request name objects that exist; and none of its mounts is of the host."""
    for place in (case.path_parameters, case.body):
        if isinstance(place, dict):
            place.update({key: KNOWN[key] for key in place if key in KNOWN})
            if "mounts" in place:
                place["mounts"] = []


def fault_of(operation: Any, answer: Any) -> str | None:
    """Why an answer is not what the description says."""
    said = f"{answer.status_code} {answer.text[:500]}"
    if answer.status_code >= 500:
        return said
    if answer.status_code == 405:  # the path was made another one
        return None
    described = operation.definition.raw["responses"].get(str(answer.status_code))
    if described is None:
        return f"not described: {said}"
    if "application/json" not in described.get("content", {}):
        return None
    return mismatch(operation.schema.raw_schema, described, json.loads(answer.text))


def mismatch(document: Any, described: Any, body: object) -> str | None:
    """What is wrong with the body of an answer."""
    import jsonschema

    schema = described["content"]["application/json"]["schema"]
    try:
        jsonschema.validate(body, {**schema, "components": document["components"]})
    except jsonschema.ValidationError as error:
        return error.message
    return None
