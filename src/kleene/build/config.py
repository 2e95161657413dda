"""What an image says of the containers made from it, and how instructions change that. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from kleene.build.commands import argv
from kleene.build.expander import Expander
from kleene.build.paths import join
from kleene.build.signals import signal_name
from kleene.dockerfile.excerpt import quoted
from kleene.dockerfile.instructions import (
    Cmd,
    Entrypoint,
    Expose,
    HealthCheck,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Shell,
    StopSignal,
    User,
    Volume,
)
from kleene.dockerfile.words import Word
from kleene.schemas import settings as schemas
from kleene.schemas.images import ImageSettings

_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/([a-zA-Z]*))?")
_HOST = re.compile(r"(?:[0-9a-fA-F.:\[\]]*:)?[0-9]{0,5}(?:-[0-9]{1,5})?")
_PROTOCOLS = ("tcp", "udp", "sctp")
_DURATION = re.compile(r"\+?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+")
_PART = re.compile(r"([0-9.]+)([^0-9.]+)")
_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,
    "\u03bcs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}


@dataclass(frozen=True)
class ImageConfig:
    """What an image says of the containers made from it.

    Attributes:
        cmd: the default command; empty if there is none.
        env: ``NAME=VALUE``, in the order in which they were set.
        user: ``""`` is root.
        workdir: absolute.
        settings: the rest. Nobody changes it in place.
    """

    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = "/"
    settings: ImageSettings = field(default_factory=ImageSettings)


EMPTY_CONFIG = ImageConfig(
    env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
)
"""What ``FROM scratch`` begins with: as in BuildKit, programs are looked for in the usual places."""


class Configuration:
    """An image's configuration while the instructions of its stage are gone through.

    Attributes:
        image: as it is by now; ``env`` is kept elsewhere.
    """

    def __init__(self, base: ImageConfig) -> None:
        self._has_cmd = False
        # What the parent has for its children is done here, and not handed on.
        self.image = base
        self._set(onbuild=[])

    @property
    def shell(self) -> list[str]:
        """What shell forms are given to."""
        return self.image.settings.shell

    def change(self, instruction: Instruction, words: Expander) -> None:
        """Carry out an instruction that changes the configuration; others are passed over.

        Raises:
            DockerfileError: what it says cannot be.
        """
        settings = self.image.settings
        match instruction:
            case Cmd():
                self._has_cmd = True
                self.image = replace(self.image, cmd=argv(instruction.command, self.shell))
            case Entrypoint():
                self._entrypoint(instruction)
            case User():
                self.image = replace(self.image, user=words.user(instruction.user) or "")
            case Label():
                pairs = ((words.expand(n), words.expand(v)) for n, v in instruction.pairs)
                self._set(labels={**settings.labels, **dict(pairs)})
            case Maintainer():
                self._set(labels={**settings.labels, "maintainer": instruction.name.text})
            case Expose():
                ports = [port for word in instruction.ports for port in _ports(word, words)]
                self._set(exposed_ports=_merged(settings.exposed_ports, ports))
            case Volume():
                paths = [self._volume(word, words) for word in instruction.paths]
                self._set(volumes=_merged(settings.volumes, paths))
            case StopSignal():
                self._set(stop_signal=_signal(instruction.signal, words))
            case Shell():
                self._set(shell=[word.text for word in instruction.arguments])
            case HealthCheck():
                self._set(healthcheck=_health_check(instruction, self.shell))
            case OnBuild():
                self._set(onbuild=[*settings.onbuild, instruction.text])

    def _set(self, **values: object) -> None:
        settings = msgspec.structs.replace(self.image.settings, **values)
        self.image = replace(self.image, settings=settings)

    def _entrypoint(self, entrypoint: Entrypoint) -> None:
        # The parent's CMD was meant for the parent's ENTRYPOINT (Dockerfile reference, "Understand how
        # CMD and ENTRYPOINT interact").
        if not self._has_cmd:
            self.image = replace(self.image, cmd=())
        self._set(entrypoint=list(argv(entrypoint.command, self.shell)))

    def _volume(self, word: Word, words: Expander) -> str:
        path = join(self.image.workdir, words.not_empty(word, "the path"))
        if path == "/":
            raise word.error("a volume cannot take the place of '/'", "name a directory below it")
        return path


def _merged(old: list[str], new: list[str]) -> list[str]:
    return list(dict.fromkeys((*old, *new)))


def _ports(word: Word, words: Expander) -> list[str]:
    return [_port(word, text) for text in words.expand(word).split()]


def _port(word: Word, text: str) -> str:
    # Docker still takes '[IP:]HOST:PORT', where only the port counts; the rule ExposeInvalidFormat warns.
    host, _, port = text.rpartition(":")
    found = _PORT.fullmatch(port) if _HOST.fullmatch(host) else None
    first, last, protocol = found.groups() if found else ("0", None, None)
    numbers = [int(first), int(last or first)]
    protocol = (protocol or "tcp").lower()
    if found is None or not 0 <= numbers[0] <= numbers[1] <= 65535 or protocol not in _PROTOCOLS:
        raise word.error(
            f"{quoted(text)} is not a port",
            "write PORT, PORT/udp, or FIRST-LAST; publish with klee run -p",
        )
    ports = str(numbers[0]) if numbers[0] == numbers[1] else f"{numbers[0]}-{numbers[1]}"
    return f"{ports}/{protocol}"


def _signal(word: Word, words: Expander) -> str:
    text = words.not_empty(word, "the signal")
    name = signal_name(text)
    if name is None:
        raise word.error(f"no such signal: {quoted(text)}", "write it as SIGTERM")
    return name


def _health_check(check: HealthCheck, shell: list[str]) -> schemas.HealthCheck:
    if check.command is None:
        return schemas.HealthCheck()
    options = check.options
    return schemas.HealthCheck(
        test=list(argv(check.command, shell)),
        interval=_seconds(options, "interval"),
        timeout=_seconds(options, "timeout"),
        start_period=_seconds(options, "start-period"),
        start_interval=_seconds(options, "start-interval"),
        retries=_count(options.get("retries")),
    )


def _seconds(options: Mapping[str, Word], name: str) -> float:
    word = options.get(name)
    if word is None or word.text == "0":
        return 0
    if _DURATION.fullmatch(word.text) is None:
        raise word.error(f"{quoted(word.text)} is not a duration", f"write it as --{name}=1m30s")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(word.text))
    if 0 < seconds < 0.001:
        raise word.error(
            f"{quoted(word.text)} is too short", "write 1ms or more, or 0 for the default"
        )
    return seconds


def _count(word: Word | None) -> int:
    if word is None:
        return 0
    if not (word.text.isdecimal() and word.text.isascii() and len(word.text) < 10):
        raise word.error(f"{quoted(word.text)} is not a number", "write it as --retries=3")
    return int(word.text)
