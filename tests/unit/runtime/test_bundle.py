"""What a container's mounts and devices are refused for, before the runtime fails at them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kleene.errors import HostUnavailable, InvalidInput
from kleene.runtime import bundle, devices
from kleene.runtime.driver import ContainerSpec, Mount, Network
from kleene.runtime.options import Device, Options


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    root = tmp_path / "rootfs"
    for directory in ("etc", "bin"):
        (root / directory).mkdir(parents=True)
    (root / "etc/passwd").touch()
    (root / "bin/sh").symlink_to("/etc/passwd")
    (root / "loop").symlink_to("loop")
    return root


def check(rootfs: Path, *mounts: tuple[Path, str]) -> None:
    listed = [Mount(source, destination) for source, destination in mounts]
    bundle.check_mounts(
        ContainerSpec("0" * 12, rootfs, "web", Network("none"), "disabled", mounts=listed)
    )


@pytest.mark.parametrize(
    ("destination", "said", "hint"),
    [
        ("/proc", "of its own", "somewhere else"),
        ("/dev/", "of its own", "--device /dev/NAME"),
        ("/bin/sh", "is no directory in the container, and", "another destination"),
        ("/etc/passwd/x", "not a directory", "another path"),
        ("/loop", "symbolic links", "leads to itself"),
        (f"/{'x' * 256}", "too long", "shorter"),
    ],
)
def test_a_directory_that_cannot_be_mounted(
    rootfs: Path, tmp_path: Path, destination: str, said: str, hint: str
) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        check(rootfs, (tmp_path, destination))
    assert hint in (caught.value.hint or "")


def test_a_file_that_cannot_be_mounted(rootfs: Path) -> None:
    with pytest.raises(InvalidInput, match="'/etc' is a directory in the container, and"):
        check(rootfs, (rootfs / "etc/passwd", "/etc"))


def test_what_can_be_mounted(rootfs: Path, tmp_path: Path) -> None:
    file = rootfs / "etc/passwd"
    check(rootfs, (tmp_path, "/etc"), (file, "/bin/sh"), (tmp_path, "/new/a/b"), (file, "/new2"))
    check(rootfs, (tmp_path, "/dev/shm"), (tmp_path, "/proc/sys"))
    # What is below another mount is not looked for in the image.
    check(rootfs, (tmp_path, "/etc"), (tmp_path, "/etc/passwd"))


def test_a_directory_without_devices_is_no_device(tmp_path: Path) -> None:
    for path in (str(tmp_path), "/", "/dev/shm"):
        with pytest.raises(InvalidInput, match="is not a device of the host"):
            devices.given(Options(devices=(Device(path, path),)))


def test_a_file_system_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HostUnavailable, match="is not there") as caught:
        check(tmp_path / "none")
    assert "klee rmc" in (caught.value.hint or "")
