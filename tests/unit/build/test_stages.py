"""Which stages are needed, in which order; names, numbers, cycles."""

from __future__ import annotations

import pytest

from kleene.build.platforms import automatic_arguments
from kleene.build.stages import needed_stages
from kleene.dockerfile.document import Stage, read_dockerfile
from kleene.dockerfile.source import DockerfileError, Source
from kleene.errors import InvalidInput
from kleene.names import ImageReference

THREE = "FROM a AS One\nFROM b AS two\nFROM c\n"


def order(text: str, target: str = "", override: str = "") -> list[str]:
    """The stages needed, as ``INDEX<BASE[<ORIGIN…]``; an origin is an index or an image's name."""
    dockerfile = read_dockerfile(Source.from_text("Dockerfile", text))
    image = ImageReference(override) if override else None
    nodes = needed_stages(dockerfile, {"arg": "given"}, override=image, target=target)
    return [
        "<".join(
            str(found.index if isinstance(found, Stage) else found)
            for found in (node.stage, node.base, *(origin for _, origin in node.origins))
        )
        for node in nodes
    ]


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        (THREE, "", ["2<c"]),
        (THREE, "one", ["0<a"]),
        (THREE, "TWO", ["1<b"]),
        (THREE, "1", ["1<b"]),
        ("FROM a AS b\nFROM b\n", "", ["0<a", "1<0"]),
        ("FROM a AS b\nFROM B AS c\nFROM c\n", "", ["0<a", "1<0", "2<1"]),
        # A name means a stage only below it.
        ("FROM b\nFROM a AS b\n", "0", ["0<b"]),
        ("FROM b AS b\n", "", ["0<b"]),
        ("FROM a AS x\nFROM b AS x\nFROM x AS x\nFROM x\n", "", ["1<b", "2<1", "3<2"]),
        ("FROM a AS b\nFROM c\nCOPY --from=b x y\n", "", ["0<a", "1<c<0"]),
        ("FROM a\nFROM c\nCOPY --from=0 x y\n", "", ["0<a", "1<c<0"]),
        ("FROM a\nCOPY --from=img:1 x y\n", "", ["0<a<img:1"]),
        # COPY sees stages below too.
        ("FROM a AS x\nCOPY --from=y f f\nFROM b AS y\n", "x", ["1<b", "0<a<1"]),
        (
            "FROM a AS x\nFROM x AS y\nFROM x AS z\nFROM d\nCOPY --from=z f f\nCOPY --from=y f f\n",
            "",
            ["0<a", "2<0", "1<0", "3<d<2<1"],
        ),
        ("ARG arg\nFROM a AS given\nFROM $arg\n", "", ["0<a", "1<0"]),
        # What is not needed may be broken.
        ("FROM $nothing AS x\nCOPY --from=9 a b\nFROM a\n", "", ["1<a"]),
    ],
)
def test_order(text: str, target: str, expected: list[str]) -> None:
    assert order(text, target) == expected


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("FROM a AS x\nCOPY --from=x f f\n", "2:13"),
        ("FROM a AS x\nCOPY --from=0 f f\n", "2:13"),
        ("FROM a AS x\nCOPY --from=y f f\nFROM x AS y\n", "2:13"),
        ("FROM a AS x\nCOPY --from=y f f\nFROM b AS y\nCOPY --from=x f f\n", "2:13"),
    ],
)
def test_cycles(text: str, place: str) -> None:
    with pytest.raises(DockerfileError, match=f"^Dockerfile:{place}: stage .* needs itself"):
        order(text)


def test_the_override_replaces_the_image_at_the_root() -> None:
    text = "FROM a AS x\nFROM b AS other\nFROM x\nCOPY --from=other f f\n"
    assert order(text, override="new") == ["0<new", "1<b", "2<0<1"]
    assert order("FROM $nothing\n", override="new") == ["0<new"]


def test_unknown_target() -> None:
    with pytest.raises(InvalidInput) as caught:
        order(THREE, "tow")
    assert caught.value.hint == "did you mean 'two'?"
    with pytest.raises(InvalidInput):
        order(THREE, "3")


def test_there_may_be_many_stages() -> None:
    count = 5000
    chain = "FROM a AS s0\n" + "".join(f"FROM s{n} AS s{n + 1}\n" for n in range(count))
    assert len(order(chain)) == count + 1


def test_the_arguments_of_the_platform() -> None:
    found = automatic_arguments("linux/arm/v7")
    assert found["TARGETPLATFORM"] == "linux/arm/v7"
    assert (found["TARGETOS"], found["TARGETARCH"], found["BUILDVARIANT"]) == ("linux", "arm", "v7")
    assert automatic_arguments("linux/amd64")["TARGETVARIANT"] == ""
    assert order("FROM --platform=$BUILDPLATFORM a\n") == ["0<a"]
    with pytest.raises(DockerfileError, match=r"^Dockerfile:1:17: platform 'plan9/mips' is not"):
        order("FROM --platform=plan9/mips a\n")
