"""``RUN --device=NAME[,required]``: read, and what comes of it. Pure.

The names are those of the Container Device Interface (Dockerfile reference, "RUN --device"). A build of
Kleene is given no device of the host, as one of Docker's is on a host that has none registered: what can do
without is run without, and warned of; what requires its device is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kleene.dockerfile.excerpt import nearest, quoted
from kleene.dockerfile.flags import truth
from kleene.dockerfile.source import DockerfileWarning
from kleene.dockerfile.words import Word, split_comma


@dataclass(frozen=True)
class DeviceFlag:
    """A device that a RUN asks for.

    Attributes:
        name: ``vendor.com/class``, ``vendor.com/class=device``, or a class alone.
        required: whether the RUN cannot do without.
    """

    name: Word
    required: bool


def read_device(word: Word) -> DeviceFlag:
    """Read the value of ``--device``.

    Raises:
        DockerfileError: there is no name, more than one, or an option that is not known.
    """
    name, required = None, False
    for field in split_comma(word):
        key, equals, value = field.text.partition("=")
        key = key.lower()
        if key == "required":
            required = _is_true(field, value if equals else "true")
            continue
        if name is not None:
            raise _not_a_name(field, key, name)
        written = key == "name" and equals
        name = field.part(len("name="), len(field.text)) if written else field
    if name is None or not name.text:
        raise word.error("'--device' names no device", "write --device=VENDOR/CLASS=NAME")
    return DeviceFlag(name, required)


def not_granted(device: DeviceFlag) -> DockerfileWarning:
    """The warning that a RUN goes without a device."""
    return device.name.warning(
        "DeviceNotGranted",
        f"device {quoted(device.name.text)} is not given to the command: "
        "builds have none of the host's",
        "remove --device, or write ',required' if the command cannot do without",
    )


def check_devices(devices: Iterable[DeviceFlag]) -> None:
    """Refuse what a RUN requires and cannot have.

    Raises:
        DockerfileError: a device is required.
    """
    for device in devices:
        if device.required:
            raise device.name.error(
                f"required device {quoted(device.name.text)} is not there: "
                "builds are given none of the host's",
                "remove 'required' if the command can do without, or run it in a container",
            )


def _is_true(field: Word, value: str) -> bool:
    found = truth(value)
    if found is None:
        raise field.error(
            f"'required' cannot be {quoted(value)}", "write required, or leave it out"
        )
    return found


def _not_a_name(field: Word, key: str, name: Word) -> Exception:
    if key == "name":
        return field.error(f"the device has a name already: {quoted(name.text)}", "remove one")
    near = nearest(key, ("name", "required"))
    return field.error(
        f"'--device' has no option {quoted(field.text)}",
        f"did you mean '{near}'?" if near else "write a --device for each device",
    )
