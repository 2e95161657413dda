"""Which stages are needed, in which order; names, numbers, cycles."""

from __future__ import annotations

import pytest

from kleene.build.platforms import automatic_arguments
from kleene.build.stages import Named, needed_stages
from kleene.dockerfile.document import Stage, read_dockerfile
from kleene.dockerfile.source import DockerfileError, Position, Source
from kleene.errors import InvalidInput
from kleene.names import ImageReference

THREE = "FROM a AS One\nFROM b AS two\nFROM c\n"


def order(text: str, target: str = "", override: str = "", named: Named | None = None) -> list[str]:
    """The stages needed, as ``INDEX<BASE[<ORIGIN…]``; an origin is an index or an image's name."""
    dockerfile = read_dockerfile(Source.from_text("Dockerfile", text))
    image = ImageReference(override) if override else None
    given = {"arg": "given"}
    nodes = needed_stages(dockerfile, given, override=image, target=target, named=named)
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


GIVEN: Named = {"dir": None, "img:1": ImageReference("other", "2"), "zdir:3": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM dir\n", ["1<scratch", "0<1"]),
        ("FROM Dir:latest\n", ["1<scratch", "0<1"]),
        ("FROM img:1\nCOPY --from=img:2 x y\n", ["0<other:2<img:2"]),
        (
            "FROM a\nCOPY --from=dir x y\nCOPY --from=zdir:3 x y\n",
            ["1<scratch", "2<scratch", "0<a<1<2"],
        ),
        ("FROM a\nRUN --mount=from=dir x\nCOPY --from=zdir x y\n", ["1<scratch", "0<a<1<zdir"]),
        # They go before stages, by whatever these are called.
        (
            "FROM a AS dir\nFROM dir\nCOPY --from=0 x y\nCOPY --from=DIR x y\n",
            ["2<scratch", "1<2<2<2"],
        ),
        ("FROM a AS x\nFROM x\n", ["0<a", "1<0"]),
        # What becomes the image may be called so, too.
        ("FROM a\nFROM a AS dir\nCOPY --from=0 x y\n", ["2<scratch", "1<2"]),
    ],
)
def test_what_the_user_gave_goes_before_stages_and_images(text: str, expected: list[str]) -> None:
    assert order(text, named=GIVEN) == expected


def test_an_image_in_place_of_the_first_leaves_alone_what_the_user_gave() -> None:
    text = "FROM a AS dir\nFROM dir AS x\nFROM x\n"
    assert order(text, override="o", named=GIVEN) == ["1<o", "2<1"]
    assert order(text, override="o") == ["0<o", "1<0", "2<1"]


def test_a_given_directory_has_the_place_where_it_is_named() -> None:
    dockerfile = read_dockerfile(Source.from_text("Dockerfile", "FROM a\nCOPY --from=dir x y\n"))
    given, _ = needed_stages(dockerfile, {}, named=GIVEN)
    assert given.stage.given is not None
    assert given.stage.given.range.start == Position(2, 13)
    triggers = {ImageReference("a"): ["COPY --from=dir x y"]}
    dockerfile = read_dockerfile(Source.from_text("Dockerfile", "\nFROM a\n"))
    given, _ = needed_stages(dockerfile, {}, triggers=triggers, named=GIVEN)
    assert given.stage.given is not None
    assert given.stage.given.range.start == Position(2, 1)


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
