"""The encoding of rtnetlink's messages, and how the kernel's refusals are read."""

from __future__ import annotations

import errno
import struct

import pytest

from kleene.network import netlink


def test_attributes_are_padded_and_read_back() -> None:
    packed = (
        netlink.text(3, "eth0") + netlink.number(10, 7) + netlink.nested(18, netlink.text(1, "x"))
    )
    assert len(packed) % 4 == 0
    found = netlink.attributes(b"head" + packed, 4)
    assert netlink.as_text(found[3]) == "eth0"
    assert netlink.as_number(found[10]) == 7
    assert netlink.as_text(netlink.attributes(found[18])[1]) == "x"


@pytest.mark.parametrize("data", [b"", b"\x00", bytes(8), struct.pack("=HH", 2, 1)])
def test_broken_attributes_end_the_list(data: bytes) -> None:
    assert netlink.attributes(data) == {}


def test_an_acknowledgement_is_no_error() -> None:
    netlink._check(struct.pack("=i", 0), 0)
    netlink._check(b"", 0)


def test_an_error_bears_the_kernels_reason() -> None:
    request = struct.pack("=IHHII", 16, 16, 0, 1, 0)
    body = struct.pack("=i", -errno.EINVAL) + request + netlink.text(1, "no such thing")
    with pytest.raises(OSError, match=r"Invalid argument \(no such thing\)") as caught:
        netlink._check(body, 0x300)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(FileExistsError):
        netlink._check(struct.pack("=i", -errno.EEXIST) + request, 0x100)
