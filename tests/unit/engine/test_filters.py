"""Which objects of a list are wanted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kleene.engine.filters import OF_RECORDS, Related, select
from kleene.engine.lists import Lists
from kleene.engine.pruning import to_prune
from kleene.errors import InvalidInput, NotFound
from kleene.metadata.volumes import VolumeRecord
from kleene.schemas.containers import ContainerSummary, PublishedPort
from kleene.schemas.filters import parse
from kleene.schemas.images import Image
from kleene.schemas.networks import Network
from kleene.schemas.secrets import Secret
from kleene.schemas.settings import ContainerSettings, Health
from kleene.schemas.volumes import Volume
from tests.api.fake_engine import FakeEngine
from tests.unit.metadata.test_metadata import CONTAINER

FLASK = "cccc1"


def container(name: str, **fields: Any) -> ContainerSummary:
    given: dict[str, Any] = {
        "id": f"{name}0",
        "name": name,
        "created": f"2024-{len(name)}",
        "image_id": FLASK,
        "image_name": "flask",
        "image_tag": "latest",
        "network_driver": "ipnet",
        "restart_policy": "no",
        "running": False,
        "public_ports": [],
    }
    empty: dict[str, Any] = {
        "dataset": "",
        "cmd": [],
        "env": [],
        "user": "",
        "jail_param": [],
        "persist": False,
    }
    return ContainerSummary(**given | empty | fields)


PORT = PublishedPort([], "8000:8010", "9000:*", "udp", "", "")
A = container(
    "a",
    running=True,
    labels={"team": "x"},
    networks=["net"],
    health=Health("healthy"),
    restart_policy="always",
)
BB = container(
    "bb", started="2024", exit_code=3, labels={"team": "y", "z": ""}, mounts=["data:/d:ro"]
)
CCC = container("ccc", image_id="ffff", image_name="", restarting=True, exit_code=1)
DDDD = container("dddd", image_name="db", image_tag="2", public_ports=[PORT], network_driver="vnet")


def image(image_id: str, name: str, **fields: Any) -> Image:
    given: dict[str, Any] = {
        "id": image_id,
        "name": name,
        "tag": "latest" if name else "",
        "created": image_id,
    }
    return Image(
        **given | {"dataset": "", "cmd": [], "env": [], "user": "", "instructions": []} | fields
    )


BASE = image("aaaa1", "base")
UNNAMED = image("bbbb1", "", parent="aaaa1@1")
IMAGES = [BASE, UNNAMED, image(FLASK, "lab/flask", parent="bbbb1@2", labels={"team": "x"})]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("status=running", "a"),
        ("status=exited", "bb"),
        ("status=stopped", "bb dddd"),
        ("status=created status=restarting", "ccc dddd"),
        ("name=c", "ccc"),
        ("name=^c", "ccc"),
        ("name=^/?c", ""),
        ("name=d$", "dddd"),
        ("name=^b$", ""),
        ("name=^/bb$", "bb"),
        ("id=dd", "dddd"),
        ("label=team", "a bb"),
        ("label=team=y label=z", "bb"),
        ("image=flask", "a bb"),
        ("image=db:2 image=ff", "ccc dddd"),
        ("image=db", ""),
        ("network=net", "a"),
        ("volume=data", "bb"),
        ("volume=/d", "bb"),
        ("health=healthy", "a"),
        ("health=none name=b", "bb"),
        ("exited=3", "bb"),
        ("before=bb", "a"),
        ("since=bb", "ccc dddd"),
        ("restart=always status=running", "a"),
        ("ancestor=base", "a bb dddd"),
        ("driver=vnet", "dddd"),
        ("publish=8004", "dddd"),
        ("publish=8004/udp", "dddd"),
        ("publish=8004/tcp publish=8011 publish=x", ""),
    ],
)
def test_containers(words: str, names: str) -> None:
    wanted = parse("container", words.split())
    found = select("container", [A, BB, CCC, DDDD], wanted, Related(IMAGES))
    assert " ".join(c.name for c in found) == names


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("dangling=true", "bbbb1"),
        ("dangling=false", "aaaa1 cccc1"),
        ("dangling=false dangling=true", "aaaa1 bbbb1 cccc1"),
        ("reference=lab/*", "cccc1"),
        ("reference=base", "aaaa1"),
        ("reference=*:latest", "aaaa1 cccc1"),
        ("reference=flask", ""),
        ("name=flask", "cccc1"),
        ("name=^base$", "aaaa1"),
        ("label=team=x", "cccc1"),
        ("since=base", "bbbb1 cccc1"),
        ("before=lab/flask:latest since=aaaa", "bbbb1"),
        ("id=cc", "cccc1"),
    ],
)
def test_images(words: str, ids: str) -> None:
    found = select("image", IMAGES, parse("image", words.split()), Related())
    assert " ".join(i.id for i in found) == ids


def test_what_is_known_of_a_container_without_a_summary() -> None:
    """The same filters fit rows of the metadata."""
    words = ["name=web", "id=c", "image=web", "restart=on-startup", "driver=ipnet", "label=a=1"]
    record = replace(CONTAINER, settings=ContainerSettings(labels={"a": "1"}))
    assert {word.partition("=")[0] for word in words} < OF_RECORDS
    assert select("container", [record], parse("container", words), Related()) == [record]
    assert select("container", [record], parse("container", ["label=b"]), Related()) == []


def test_what_the_others_use() -> None:
    net = Network("n1", "net", "bridge", "", "", "", "", "", True, False, "")
    lo = Network("n2", "lo", "loopback", "", "", "", "", "", True, False, "")
    unused = parse("network", ["dangling=true"])
    assert select("network", [net, lo], unused, Related(used={"net"})) == [lo]
    assert select("network", [net, lo], parse("network", ["driver=bridge"]), Related()) == [net]
    volumes = [Volume(name, "", "", "") for name in ("data", "old")]
    used = parse("volume", ["dangling=false"])
    assert select("volume", volumes, used, Related(used={"data"})) == volumes[:1]
    secrets = [Secret("a", "", {}, ["web"]), Secret("b", "", {"x": "1"}, [])]
    assert select("secret", secrets, parse("secret", ["dangling=true"]), Related()) == secrets[1:]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("", "old new"),
        ("label=team=x", "old"),
        ("label!=team", "new"),
        ("label!=team=y label!=z", "old"),
        ("until=2025-01-01", "old"),
        ("until=2025-01-01 until=1h", "old"),
        ("until=1h", "old new"),
        ("label=z until=2025-01-01", ""),
    ],
)
def test_prunes(words: str, names: str) -> None:
    old = VolumeRecord("old", "ready", "2024-01-01T00:00:00Z", "", None, {"team": "x"})
    new = replace(old, name="new", created="2025-06-01T00:00:00Z", labels={"z": ""})
    assert " ".join(record.name for record in to_prune([old, new], words.split())) == names


@pytest.mark.parametrize("word", ["until=soon", "until=", "name=x", "label!"])
def test_what_is_no_filter_of_prunes(word: str) -> None:
    with pytest.raises(InvalidInput):
        to_prune([], [word])


@pytest.mark.parametrize("word", ["running", "colour=red", "status=up", "health=fine", "name="])
def test_what_is_no_filter(word: str) -> None:
    with pytest.raises(InvalidInput, match=f"filter '{word}'"):
        parse("container", [word])


def test_an_object_that_is_not_there_and_the_nearest_one() -> None:
    with pytest.raises(NotFound, match="no such image: 'bsae'") as refused:
        select("image", IMAGES, parse("image", ["before=bsae"]), Related())
    assert refused.value.hint == "did you mean 'base'?"


async def test_which_containers_a_list_begins_with() -> None:
    """Those that do not run count where the filter is about them, or about when they were created."""
    engine = FakeEngine()

    async def all_of(every: bool, choose: Any = list, /) -> list[ContainerSummary]:
        return [*choose([A, BB, CCC, DDDD] if every else [A])]

    engine.containers.list = all_of  # type: ignore[method-assign]
    lists = Lists(engine)

    async def names(*words: str, every: bool = False) -> str:
        return " ".join(c.name for c in await lists.containers(words, every=every))

    assert await names() == "a"
    assert await names(every=True) == "a bb ccc dddd"
    assert await names("status=exited") == "bb"
    assert await names("exited=3", "name=b", "label=z") == "bb"
    assert await names("since=a") == ""
    assert await names("before=dddd") == "a"
    assert await names("before=dddd", every=True) == "a bb ccc"
    assert [v.name for v in await lists.volumes(["dangling=true"])] == []
    assert [n.name for n in await lists.networks(["dangling=true"])] == []
