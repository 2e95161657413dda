"""Every path but the streams: what it does, what it answers, and how it fails."""

from __future__ import annotations

import logging

import pytest

from kleene.errors import CommandFailed, HostUnavailable
from tests.api.asgi import Api
from tests.api.fake_engine import FakeEngine


async def test_container_from_creation_to_removal(api: Api, engine: FakeEngine) -> None:
    made = (await api.send("POST", "/containers/create", {"image": "web", "name": "api"}))["id"]

    assert await api.send("GET", "/containers/list") == []
    listed = await api.send("GET", "/containers/list", all=True)
    assert [each["id"] for each in listed] == [made]
    assert (await api.send("GET", "/containers/api/inspect"))["container"]["id"] == made
    updated = await api.request(
        "POST", f"/containers/{made}/update", {"name": "site", "image": None}
    )
    assert updated.status_code == 201
    assert engine.containers.held[made].name == "site"
    assert await api.send("POST", f"/containers/{made[:4]}/stop") == {"id": made}
    assert await api.send("POST", f"/containers/{made}/stop", timeout=0.5) == {"id": made}
    assert engine.containers.calls == [None, 0.5]
    assert await api.send("POST", "/containers/prune") == [made]
    assert await api.send("DELETE", f"/containers/{made}") == {"id": made}


async def test_signals_to_a_container_and_its_processes(api: Api, engine: FakeEngine) -> None:
    made = (await api.send("POST", "/containers/create", {"image": "web", "cmd": ["/s"]}))["id"]

    assert await api.send("POST", f"/containers/{made}/kill") == {"id": made}
    assert await api.send("POST", f"/containers/{made}/kill", signal="HUP") == {"id": made}
    assert engine.containers.calls == ["SIGKILL", "HUP"]
    (process,) = await api.send("GET", f"/containers/{made}/top")
    assert (process["pid"], process["host_pid"], process["command"]) == (6, 4711, ["/s"])


async def test_running_container_is_removed_by_force_only(api: Api, engine: FakeEngine) -> None:
    made = (await api.send("POST", "/containers/create", {"image": "web"}))["id"]
    engine.containers.held[made].running = True

    refused = await api.request("DELETE", f"/containers/{made}")

    assert refused.status_code == 409
    assert refused.json()["hint"] == f"stop it first: klee stop {made}"
    assert await api.send("DELETE", f"/containers/{made}", force="true") == {"id": made}


async def test_execution_instance(api: Api, engine: FakeEngine) -> None:
    created = await api.request("POST", "/exec/create", {"container_id": "api", "cmd": ["id"]})
    assert created.status_code == 201
    made = created.json()["id"]

    await api.send("POST", f"/exec/{made}/stop", force_stop="true", stop_container="false")

    assert engine.execs.started == [{"force": True, "stop_container": False}]


@pytest.mark.parametrize(
    "written", ["web", "web:latest", "library/web", "library/web:latest", "library%2Fweb"]
)
async def test_image_is_named_as_users_do(api: Api, engine: FakeEngine, written: str) -> None:
    inspected = await api.send("GET", f"/images/{written}/inspect")
    assert inspected["name"] == written.replace("%2F", "/").removesuffix(":latest")
    tagged = await api.request("POST", f"/images/{written}/tag", nametag="new:1")
    assert tagged.status_code == 200
    assert engine.images.held[inspected["id"]].tag == "1"
    assert await api.send("DELETE", "/images/new:1") == {"id": inspected["id"]}


async def test_images_are_listed_and_pruned(api: Api, engine: FakeEngine) -> None:
    ids = [*engine.images.held]
    assert [each["id"] for each in await api.send("GET", "/images/list")] == ids
    assert await api.send("POST", "/images/prune", all="false") == []
    assert await api.send("POST", "/images/prune", all="true") == ids
    assert (await api.send("GET", "/images/prune", all="true", filter="until=7d"))["bytes"] == 1
    await api.send("POST", "/images/prune", only="a,b")
    assert engine.space.asked[-2:] == [
        ("plan images", True, ["until=7d"], None),
        ("images", False, (), ["a", "b"]),
    ]


async def test_what_builds_left_and_what_there_is_on_disk(api: Api) -> None:
    assert await api.send("GET", "/builds/prune") == {"objects": [], "bytes": 0}
    assert await api.send("POST", "/builds/prune", all="true") == ["c069e69af8cf"]
    assert (await api.send("GET", "/df"))["free"] == 9


async def test_the_past_of_images(api: Api) -> None:
    (step,) = await api.send("GET", "/images/library/web/history")
    assert step["number"] == 1
    (change,) = await api.send("GET", "/images/diff", older="web", newer="library/web:latest")
    assert change["path"] == "etc/passwd"
    answer = await api.raw.get("/images/library/web/blame", params={"path": "/etc/passwd"})
    assert answer.json()["step"] == 1
    assert (await api.send("GET", "/images/web/inspect", size="true"))["size"]["own"] == 1
    assert (await api.send("GET", "/images/web/inspect"))["size"] is None


async def test_network_from_creation_to_removal(api: Api, engine: FakeEngine) -> None:
    created = await api.request(
        "POST", "/networks/create", {"name": "back", "type": "bridge", "subnet": "10.0.0.0/24"}
    )
    assert created.status_code == 201
    made = created.json()["id"]
    assert [each["name"] for each in await api.send("GET", "/networks/list")] == ["back"]
    assert (await api.send("GET", "/networks/back/inspect"))["network"]["id"] == made

    connected = await api.request(
        "POST", "/networks/connect", {"network": "back", "container": "api"}
    )
    assert connected.status_code == 204
    assert engine.networks.connected == [("back", "api")]
    assert await api.send("POST", "/networks/back/disconnect/api") is None
    assert engine.networks.connected == []

    assert await api.send("POST", "/networks/prune") == [made]
    assert await api.send("DELETE", "/networks/back") == {"id": made}


async def test_volume_from_creation_to_removal(api: Api) -> None:
    created = await api.request("POST", "/volumes/create", {"name": "db"})
    assert (created.status_code, created.json()) == (201, {"id": "db"})
    assert [each["name"] for each in await api.send("GET", "/volumes/list")] == ["db"]
    assert (await api.send("GET", "/volumes/db/inspect"))["mountpoints"] == []
    assert await api.send("POST", "/volumes/prune") == ["db"]
    assert await api.send("DELETE", "/volumes/db") == {"id": "db"}


async def test_daemon_tells_of_itself(api: Api) -> None:
    assert (await api.send("GET", "/version"))["version"] == "0.1.0"
    assert (await api.send("GET", "/info"))["storage"] == "btrfs"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/containers/nothing"),
        ("GET", "/containers/nothing/inspect"),
        ("POST", "/containers/nothing/stop"),
        ("POST", "/containers/nothing/kill"),
        ("GET", "/containers/nothing/top"),
        ("GET", "/images/nothing/inspect"),
        ("DELETE", "/images/nothing"),
        ("GET", "/networks/nothing/inspect"),
        ("DELETE", "/networks/nothing"),
        ("POST", "/networks/nothing/disconnect/nothing"),
        ("GET", "/volumes/nothing/inspect"),
        ("DELETE", "/volumes/nothing"),
        ("POST", "/exec/nothing/stop"),
    ],
)
async def test_what_does_not_exist_is_404(api: Api, method: str, path: str) -> None:
    answer = await api.request(method, path)
    assert answer.status_code == 404
    assert "'nothing'" in answer.json()["message"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        (
            "/containers/create",
            {"name": 5},
            "field 'name' must be text or null, not a whole number",
        ),
        (
            "/containers/create",
            {"mounts": [{"type": "tmpfs", "source": "a", "destination": "/b"}]},
            "field 'mounts[0].type' must be one of 'nullfs', 'volume', not 'tmpfs'",
        ),
        (
            "/containers/create",
            {"mounts": [{"type": "volume", "source": "a"}]},
            "field 'mounts[0].destination' is missing",
        ),
        (
            "/containers/create",
            {"network_driver": "bridge"},
            "field 'network_driver' must be one of 'disabled', 'host', 'ipnet', 'vnet', not 'bridge'",
        ),
        ("/containers/create", [], "the value must be an object, not a list"),
        ("/containers/create", None, "the request has no body"),
        ("/containers/create", b'{"name": ', "the request's body is not valid JSON"),
        ("/networks/create", {"type": "bridge"}, "field 'name' is missing"),
        ("/containers/create", {}, "no image was named"),
    ],
)
async def test_invalid_body_is_400_and_names_the_field(
    api: Api, path: str, body: object, said: str
) -> None:
    answer = await api.request("POST", path, body)
    assert (answer.status_code, answer.json()["message"]) == (400, said)


@pytest.mark.parametrize(
    ("method", "path", "params", "said"),
    [
        ("GET", "/containers/list", {"all": "perhaps"}, "parameter 'all' must be true or false"),
        ("DELETE", "/containers/a", {"force": "x"}, "parameter 'force' must be true or false"),
        ("POST", "/containers/a/stop", {"timeout": "x"}, "parameter 'timeout' must be a number"),
        ("POST", "/containers/a/stop", {"timeout": "-1"}, "parameter 'timeout' must be"),
        ("POST", "/images/web/tag", {}, "parameter 'nametag' is missing"),
    ],
)
async def test_invalid_parameter_is_400_and_is_named(
    api: Api, method: str, path: str, params: dict[str, str], said: str
) -> None:
    answer = await api.request(method, path, **params)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(said), answer.text


async def test_fields_that_are_not_known_are_passed_over(api: Api) -> None:
    await api.send("POST", "/containers/create", {"image": "web", "container": "x"})


async def test_conflict_is_409(api: Api) -> None:
    await api.send("POST", "/containers/create", {"image": "web", "name": "api"})
    answer = await api.request("POST", "/containers/create", {"image": "web", "name": "api"})
    assert (answer.status_code, answer.json()) == (409, {"message": "name 'api' is taken"})


async def test_bug_is_told_by_an_id_and_logged_with_its_traceback(
    api: Api, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.containers.broken = ZeroDivisionError("secret of the house")

    with caplog.at_level(logging.ERROR):
        answer = await api.request("GET", "/containers/list")

    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["error_id"] in caplog.text
    assert "ZeroDivisionError: secret of the house" in caplog.text


@pytest.mark.parametrize(
    ("failure", "message", "details"),
    [
        (
            CommandFailed(["mkfs"], 3, "bad\nno space"),
            "'mkfs' failed (exit status 3): no space",
            "bad",
        ),
        (HostUnavailable("pool is full", details="x"), "pool is full", "x"),
    ],
)
async def test_failure_of_the_host_is_500_with_its_facts(
    api: Api, engine: FakeEngine, failure: HostUnavailable, message: str, details: str
) -> None:
    engine.failure = failure
    answer = await api.request("GET", "/info")
    assert (answer.status_code, answer.json()["message"]) == (500, message)
    assert answer.json()["details"].startswith(details)
    assert "error_id" not in answer.json()


async def test_unknown_path_and_method_are_told(api: Api) -> None:
    nowhere = await api.raw.get("/nowhere")
    assert (nowhere.status_code, nowhere.json()) == (
        404,
        {"message": "path '/nowhere' does not exist"},
    )
    wrong = await api.raw.get("/containers/create")
    assert (wrong.status_code, wrong.json()) == (
        405,
        {"message": "method 'GET' is not possible on path '/containers/create'"},
    )


async def test_web_page_of_another_site_is_refused(api: Api) -> None:
    page = {"origin": "http://evil.example"}
    assert (await api.raw.get("/images/list", headers=page)).status_code == 403
    own = {"origin": "http://kleened"}
    assert (await api.raw.get("/images/list", headers=own)).status_code == 200


@pytest.mark.parametrize("path", ["/exec/start", "/images/build", "/images/create"])
async def test_stream_without_websocket_is_426(api: Api, path: str) -> None:
    answer = await api.request("GET", path)
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"
