"""Build contexts: what COPY takes, where it goes, and what it never takes."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from kleene.build import digests
from kleene.build.context import Context
from kleene.build.digests import MemoryDigests
from kleene.errors import Conflict, InvalidInput, NotFound


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    (made / "app/static").mkdir(parents=True)
    (made / "hello.py").write_text("print('hello')\n")
    (made / "world.py").write_text("print('world')\n")
    (made / "app/main.py").write_text("main\n")
    (made / "app/static/site.css").write_text("css\n")
    (made / "app/.hidden").write_text("hidden\n")
    (made / "Dockerfile").write_text("FROM base\n")
    (tmp_path / "outside").write_text("secret")
    return made


@pytest.fixture
def context(directory: Path) -> Iterator[Context]:
    with Context.open(directory) as opened:
        yield opened


@pytest.fixture
def image(tmp_path: Path) -> Path:
    made = tmp_path / "image"
    (made / "usr/lib").mkdir(parents=True)
    (made / "lib").symlink_to("usr/lib")
    return made


@pytest.fixture(autouse=True)
def no_leaked_descriptors() -> Iterator[None]:
    before = {p.name for p in Path("/proc/self/fd").iterdir()}
    yield
    assert {p.name for p in Path("/proc/self/fd").iterdir()} <= before


def tree(root: Path) -> set[str]:
    """All files and links below ``root``."""
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_symlink() or not p.is_dir()}


async def copy(context: Context, image: Path, *sources: str, to: str) -> None:
    selection = await context.select(sources)
    await selection.copy_into(image, to, directory=to.endswith("/"))


async def digest_of(directory: Path, *sources: str, known: MemoryDigests | None = None) -> str:
    with Context.open(directory, digests=known) as context:
        return await (await context.select(sources)).digest()


@pytest.mark.parametrize(
    ("sources", "to", "expected"),
    [
        (["hello.py"], "/", {"hello.py"}),
        (["hello.py"], "/srv/app.py", {"srv/app.py"}),
        (["hello.py"], "/srv/", {"srv/hello.py"}),
        (["/hello.py"], "/usr", {"usr/hello.py"}),
        (["./app/../hello.py"], "/a/b/c/", {"a/b/c/hello.py"}),
        (["hello.py", "world.py"], "/srv/", {"srv/hello.py", "srv/world.py"}),
        (["*.py"], "/srv/", {"srv/hello.py", "srv/world.py"}),
        (["h*.py"], "/one.py", {"one.py"}),
        (["*.py"], "/usr", {"usr/hello.py", "usr/world.py"}),
        (["app"], "/srv", {"srv/main.py", "srv/.hidden", "srv/static/site.css"}),
        (["app/"], "/srv/", {"srv/main.py", "srv/.hidden", "srv/static/site.css"}),
        (
            ["app", "hello.py"],
            "/srv/",
            {"srv/main.py", "srv/.hidden", "srv/static/site.css", "srv/hello.py"},
        ),
        (["ap?/*.py"], "/srv/", {"srv/main.py"}),
        (["app/[!-z]*"], "/s/", {"s/main.py", "s/.hidden", "s/site.css"}),
        (["app/*"], "/lib/", {"usr/lib/main.py", "usr/lib/.hidden", "usr/lib/site.css"}),
    ],
)
async def test_destination_rules(
    context: Context, image: Path, sources: list[str], to: str, expected: set[str]
) -> None:
    await copy(context, image, *sources, to=to)
    assert tree(image) == expected | {"lib"}


async def test_whole_context(context: Context, image: Path, directory: Path) -> None:
    await copy(context, image, ".", to="/srv")
    assert tree(image / "srv") == tree(directory)


async def test_the_destination_has_not_the_mode_of_the_source_unless_it_is_asked_for(
    context: Context, image: Path, directory: Path
) -> None:
    (directory / "app").chmod(0o700)
    (directory / "app/static").chmod(0o711)
    await copy(context, image, "app", to="/new/dir")
    await copy(context, image, "app", to="/usr")
    modes = {p: (image / p).stat().st_mode & 0o777 for p in ("new", "new/dir", "usr", "usr/static")}
    assert modes == {"new": 0o755, "new/dir": 0o755, "usr": 0o755, "usr/static": 0o711}
    selection = await context.select(["app"])
    await selection.copy_into(image, "/mount", directory=False, keep_look=True)
    assert (image / "mount").stat().st_mode & 0o777 == 0o700


async def test_several_sources_cannot_become_one_file(context: Context, image: Path) -> None:
    with pytest.raises(InvalidInput, match="2 sources cannot become the one file '/srv'") as caught:
        await copy(context, image, "*.py", to="/srv")
    assert caught.value.hint is not None
    assert "'/srv/'" in caught.value.hint
    assert tree(image) == {"lib"}


async def test_conflicts_with_what_is_in_the_image(context: Context, image: Path) -> None:
    (image / "file").write_text("")
    (image / "srv/hello.py").mkdir(parents=True)
    for source, to in (("app", "/file"), ("hello.py", "/file/"), ("hello.py", "/file/x/y")):
        with pytest.raises(InvalidInput, match="'/file"):
            await copy(context, image, source, to=to)
    await copy(context, image, "hello.py", to="/srv/")
    assert (image / "srv/hello.py").is_file()


async def test_links_of_the_image_do_not_lead_out(
    context: Context, image: Path, tmp_path: Path
) -> None:
    (image / "out").symlink_to(tmp_path)
    (image / "up").symlink_to("../../../..")
    await copy(context, image, "hello.py", to="/out/")
    await copy(context, image, "hello.py", to="/up/x/")
    assert not (tmp_path / "hello.py").exists()
    assert (image / str(tmp_path).lstrip("/") / "hello.py").exists()
    assert (image / "x/hello.py").exists()


async def test_missing_source_names_similar_ones(context: Context) -> None:
    with pytest.raises(InvalidInput, match=r"'helo\.py' is not in the build context") as caught:
        await context.select(["helo.py"])
    assert caught.value.hint == "did you mean 'hello.py'?"
    with pytest.raises(InvalidInput) as caught:
        await context.select(["app/static/sit.css"])
    assert caught.value.hint == "did you mean 'app/static/site.css'?"


async def test_the_dockerfile_may_be_written_small(directory: Path) -> None:
    (directory / "Dockerfile").rename(directory / "dockerfile")
    with Context.open(directory) as context:
        assert context.read_dockerfile() == b"FROM base\n"
        assert context.dockerfile == "dockerfile"
    with Context.open(directory, dockerfile="Other") as context, pytest.raises(NotFound):
        context.read_dockerfile()


async def test_a_pattern_may_match_nothing(context: Context) -> None:
    assert (await context.select(["*.rb"])).sources == ()


@pytest.mark.parametrize("source", ["../outside", "..", "app/../../outside", "/../outside"])
async def test_sources_above_the_context_are_refused(context: Context, source: str) -> None:
    with pytest.raises(InvalidInput, match="outside the build context"):
        await context.select([source])


@pytest.mark.parametrize("target", ["../outside", "/etc/passwd"])
async def test_links_that_point_out_are_refused(
    context: Context, directory: Path, target: str
) -> None:
    (directory / "link").symlink_to(target)
    (directory / "dirlink").symlink_to("..")
    for source in ("link", "lin*", "dirlink/outside"):
        with pytest.raises(InvalidInput, match="leads out of the build context"):
            await context.select([source])
    assert (await context.select(["dirlink/*"])).sources == ()


async def test_links_inside_are_followed_when_named_and_copied_as_links_else(
    context: Context, directory: Path, image: Path
) -> None:
    (directory / "current").symlink_to("hello.py")
    (directory / "tree").symlink_to("app")
    (directory / "app/out").symlink_to("/etc/passwd")
    await copy(context, image, "current", to="/one/")
    await copy(context, image, "tree", to="/two")
    assert (image / "one/current").read_text() == "print('hello')\n"
    assert not (image / "one/current").is_symlink()
    assert (image / "two/main.py").exists()
    assert (image / "two/out").readlink() == Path("/etc/passwd")


async def test_link_to_nothing(context: Context, directory: Path) -> None:
    (directory / "dangling").symlink_to("nowhere")
    with pytest.raises(InvalidInput, match="'dangling' is not in the build context"):
        await context.select(["dangling"])


async def test_a_socket_is_left_out_unless_it_is_meant(
    context: Context, directory: Path, image: Path
) -> None:
    before = await digest_of(directory, ".")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "app/socket"))
    selection = await context.select(["."])
    assert [e.path for source in selection.sources for e in source.left_out] == ["app/socket"]
    assert await selection.digest() == before
    await copy(context, image, ".", to="/")
    assert not (image / "app/socket").exists()
    with pytest.raises(InvalidInput, match="'app/socket' is a socket and cannot be copied"):
        await copy(context, image, "app/socket", to="/")


async def test_dockerignore(directory: Path, image: Path) -> None:
    (directory / ".dockerignore").write_text(
        "**/*.css\n.dockerignore\nDockerfile\napp\n!app/main.py\n"
    )
    with Context.open(directory) as context:
        await copy(context, image, ".", to="/srv/")
        assert tree(image / "srv") == {"hello.py", "world.py", "app/main.py"}
        assert context.read_dockerfile() == b"FROM base\n"
        with pytest.raises(InvalidInput, match=r"left out .* by '\.dockerignore'"):
            await context.select(["app/static/site.css"])
        assert (await context.select(["app/static/*"])).sources == ()


async def test_dockerignore_of_one_dockerfile_goes_first(directory: Path, image: Path) -> None:
    (directory / ".dockerignore").write_text("*\n")
    (directory / "web.Dockerfile.dockerignore").write_text("*.py\n")
    (directory / "web.Dockerfile").write_text("FROM web\n")
    with Context.open(directory, dockerfile="web.Dockerfile") as context:
        assert context.read_dockerfile() == b"FROM web\n"
        await copy(context, image, ".", to="/")
    assert not (image / "hello.py").exists()
    assert (image / "app/main.py").exists()


async def test_directory_left_out_hides_what_a_link_shows_of_it(directory: Path) -> None:
    (directory / ".dockerignore").write_text("secret\n")
    (directory / "secret").write_text("x")
    (directory / "link").symlink_to("secret")
    with Context.open(directory) as context, pytest.raises(InvalidInput, match="left out"):
        await context.select(["link"])


async def test_digest_sees_what_arrives_and_nothing_else(directory: Path) -> None:
    first = await digest_of(directory, "app")
    os.utime(directory / "app/main.py", (1, 1))
    os.chown(directory / "app/main.py", 1000, 1000)
    assert await digest_of(directory, "app") == first
    seen = {first}
    (directory / "app/main.py").write_text("niam\n")
    seen.add(await digest_of(directory, "app"))
    (directory / "app/main.py").chmod(0o755)
    seen.add(await digest_of(directory, "app"))
    (directory / "app/link").symlink_to("a")
    seen.add(await digest_of(directory, "app"))
    (directory / "app/link").unlink()
    (directory / "app/link").symlink_to("b")
    seen.add(await digest_of(directory, "app"))
    (directory / "app/main.py").rename(directory / "app/renamed.py")
    seen.add(await digest_of(directory, "app"))
    (directory / "app/empty").mkdir()
    seen.add(await digest_of(directory, "app"))
    os.setxattr(directory / "app/renamed.py", "user.x", b"1")
    seen.add(await digest_of(directory, "app"))
    assert len(seen) == 8


async def test_digest_knows_the_name_of_a_file(directory: Path) -> None:
    (directory / "copy.py").write_bytes((directory / "hello.py").read_bytes())
    assert await digest_of(directory, "copy.py") != await digest_of(directory, "hello.py")


async def test_known_files_are_not_read_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = MemoryDigests()
    monkeypatch.setattr(digests, "_RECENT", 0)
    first = await digest_of(directory, ".", known=known)

    def never(*_: object) -> bytes:
        raise AssertionError("read again")

    monkeypatch.setattr(digests, "_read", never)
    assert await digest_of(directory, ".", known=known) == first


async def test_a_file_just_written_is_not_remembered(directory: Path) -> None:
    known = MemoryDigests()
    first = await digest_of(directory, "hello.py", known=known)
    status = (directory / "hello.py").stat()
    (directory / "hello.py").write_text("print('jello')\n")
    os.utime(directory / "hello.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert await digest_of(directory, "hello.py", known=known) != first


async def test_change_between_selection_and_copy_is_noticed(
    context: Context, directory: Path, image: Path
) -> None:
    selection = await context.select(["app"])
    (directory / "app/main.py").write_text("other\n")
    with pytest.raises(Conflict, match=r"'app/main\.py' changed"):
        await selection.digest()
    with pytest.raises(Conflict, match=r"'app/main\.py' changed"):
        await selection.copy_into(image, "/srv", directory=False)


async def test_what_was_copied_is_not_read_again_for_the_digest(
    directory: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.setxattr(directory / "app/main.py", "user.x", b"1")
    (directory / "app/linked.py").hardlink_to(directory / "app/main.py")
    with (directory / "app/disk").open("wb") as file:
        file.write(b"start")
        file.truncate(9 * 1024 * 1024)
    (directory / "app/large").write_bytes(os.urandom(5 * 1024 * 1024 + 1))
    read = await digest_of(directory, "app", "hello.py")

    def never(*_: object) -> bytes:
        raise AssertionError("read again")

    monkeypatch.setattr(digests, "_read", never)
    with Context.open(directory) as context:
        selection = await context.select(["app", "hello.py"])
        await selection.copy_into(image, "/srv/", directory=True)
        assert await selection.digest() == read
        listed = await selection.manifest()
    assert b"app/large" in zstandard.ZstdDecompressor().decompress(listed, 1 << 20)


async def test_owner(context: Context, image: Path) -> None:
    selection = await context.select(["app"])
    await selection.copy_into(image, "/srv/app", directory=False, owner=(33, 34))
    for path in ("srv", "srv/app", "srv/app/static", "srv/app/static/site.css"):
        status = (image / path).stat()
        assert (status.st_uid, status.st_gid) == (33, 34)


def test_missing_context_and_dockerfile(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        Context.open(tmp_path / "no")
    with pytest.raises(InvalidInput, match="is not a directory"):
        Context.open(directory / "hello.py")
    with pytest.raises(InvalidInput, match="absolute"):
        Context.open("context")
    with (
        Context.open(directory, dockerfile="Dockerfil") as context,
        pytest.raises(NotFound, match="'Dockerfil' is not in the build context") as caught,
    ):
        context.read_dockerfile()
    assert caught.value.hint == "did you mean 'Dockerfile'?"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../outside", "leads out of the build context"),
        ("/etc/passwd", "leads out of the build context"),
        ("link", "leads out of the build context"),
        ("app", "'app' is not a regular file"),
        ("large", r"^large:1:1048576: the file goes on after 1048576 bytes"),
    ],
)
def test_dockerfile_that_cannot_be_read(directory: Path, name: str, message: str) -> None:
    (directory / "link").symlink_to("../outside")
    (directory / "large").write_bytes(bytes(1024 * 1024 + 1))
    with (
        Context.open(directory, dockerfile=name) as context,
        pytest.raises(InvalidInput, match=message),
    ):
        context.read_dockerfile()


async def test_dockerignore_that_is_no_text(directory: Path) -> None:
    (directory / ".dockerignore").write_bytes(b"a\xff")
    with (
        Context.open(directory) as context,
        pytest.raises(InvalidInput, match=r"'.dockerignore' is not text in UTF-8 \(byte 2\)"),
    ):
        await context.select(["*"])


async def test_cancelled_copy_has_stopped_when_it_returns(directory: Path, image: Path) -> None:
    for number in range(3000):
        (directory / f"app/{number}").write_text("x")
    with Context.open(directory) as context:
        selection = await context.select(["app"])
        copying = asyncio.create_task(selection.copy_into(image, "/srv", directory=False))
        while not (image / "srv").exists():  # noqa: ASYNC110 - a thread makes it
            await asyncio.sleep(0)
        copying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copying
        count = len(tree(image))
    assert count < 3000
