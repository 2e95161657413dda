"""Package sources of a Debian or Ubuntu host, and which of them are the distribution's own. Pure.

Formats: sources.list(5), both the lines and the paragraphs (deb822).
"""

from __future__ import annotations

import posixpath
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

_COMPONENTS = {
    "debian": {"main", "contrib", "non-free", "non-free-firmware"},
    "ubuntu": {"main", "restricted", "universe", "multiverse"},
}
_SUFFIXES = {
    "debian": "-updates -security /updates -backports -backports-sloppy -proposed-updates".split(),
    "ubuntu": "-updates -security -backports -proposed".split(),
}
_SYMBOLIC = {
    "debian": {"stable", "oldstable", "oldoldstable", "testing", "unstable", "sid"},
    "ubuntu": {"devel"},
}
# Options that say how a source is to be trusted and fetched, as the paragraphs and as the lines name them.
_OPTIONS = {
    "allow-downgrade-to-insecure": "Allow-Downgrade-To-Insecure",
    "allow-insecure": "Allow-Insecure",
    "allow-weak": "Allow-Weak",
    "by-hash": "By-Hash",
    "check-date": "Check-Date",
    "check-valid-until": "Check-Valid-Until",
    "date-max-future": "Date-Max-Future",
    "pdiffs": "PDiffs",
    "signed-by": "Signed-By",
    "trusted": "Trusted",
    "valid-until-max": "Valid-Until-Max",
    "valid-until-min": "Valid-Until-Min",
}
_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<rest>.+)")


@dataclass(frozen=True)
class PackageSource:
    """Where binary packages come from.

    Attributes:
        options: by their names in paragraphs; ``Signed-By`` may be a key of several lines.
        architectures: that it is for; empty for the native one.
    """

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    architectures: tuple[str, ...] = ()

    def render(self) -> str:
        """As a paragraph of a ``.sources`` file."""
        fields = {
            "Types": "deb",
            "URIs": " ".join(self.uris),
            "Suites": " ".join(self.suites),
            "Components": " ".join(self.components),
            **self.options,
        }
        return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


@dataclass(frozen=True)
class Release:
    """A release of a distribution.

    Attributes:
        distribution: ``debian`` or ``ubuntu``.
        codename: such as ``bookworm``.
        version: such as ``12``; empty before it is released.
    """

    distribution: str
    codename: str
    version: str

    @property
    def name(self) -> str:
        """Name of an image of it, such as ``Debian-12``."""
        return f"{self.distribution.capitalize()}-{self.version or self.codename}"


def parse_os_release(text: str) -> dict[str, str]:
    """The variables of an os-release(5) file."""
    lines = (line.strip().partition("=") for line in text.splitlines())
    return {name: value.strip("\"'") for name, equals, value in lines if equals and name[:1] != "#"}


def parse_lines(text: str) -> list[PackageSource]:
    """The ``deb`` lines of a ``.list`` file; what is not understood is passed over, as by apt."""
    found = (_LINE.fullmatch(line.partition("#")[0].strip()) for line in text.splitlines())
    return [_from_line(match) for match in found if match and len(match["rest"].split()) >= 2]


def _from_line(match: re.Match[str]) -> PackageSource:
    uri, suite, *components = match["rest"].split()
    pairs = (option.partition("=") for option in (match["options"] or "").split())
    options = {name.rstrip("+-").lower(): value.replace(",", " ") for name, _, value in pairs}
    architectures = tuple(options.get("arch", "").split())
    return PackageSource((uri,), (suite,), tuple(components), _known(options), architectures)


def parse_paragraphs(text: str) -> list[PackageSource]:
    """The enabled paragraphs of type ``deb`` of a ``.sources`` file."""
    return [
        PackageSource(
            tuple(fields["uris"].split()),
            tuple(fields["suites"].split()),
            tuple(fields.get("components", "").split()),
            _known(fields),
            tuple(fields.get("architectures", "").split()),
        )
        for fields in _paragraphs(text)
        if "deb" in fields.get("types", "").split()
        and fields.get("enabled", "yes").strip().lower() not in ("no", "false", "0", "off")
        and fields.get("uris", "").strip()
        and fields.get("suites", "").strip()
    ]


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    name = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t":
            fields[name] = f"{fields.get(name, '')}\n{line.rstrip()}"
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()


def _known(options: Mapping[str, str]) -> dict[str, str]:
    return {_OPTIONS[name]: value for name, value in options.items() if name in _OPTIONS}


def own_sources(
    sources: list[PackageSource],
    release: Release,
    architecture: str,
    origin: Callable[[str, str], str | None],
) -> list[PackageSource]:
    """What of ``sources`` is the release's own: its suites and components, from the distribution's archive.

    Others may use the same names of suites, so it must also come from the distribution, as its index says;
    where apt has not fetched one yet, the distribution's keyring or the usual path of a mirror counts.

    Args:
        architecture: of the host, as dpkg names it.
        origin: tells the ``Origin`` of a URI's suite from the index that apt fetched; ``None``: not known.
    """
    found = []
    for source in sources:
        if source.architectures and architecture not in source.architectures:
            continue
        suites = tuple(suite for suite in source.suites if _is_suite(suite, release))
        known = _COMPONENTS[release.distribution]
        components = tuple(name for name in source.components if name in known)
        uris = tuple(
            uri
            for uri in source.uris
            if uri.partition("://")[0] in ("http", "https", "tor+http", "tor+https")
            and all(_is_from(uri, suite, source, release, origin) for suite in suites)
        )
        if suites and components and uris:
            found.append(
                replace(source, uris=uris, suites=suites, components=components, architectures=())
            )
    return found


def _is_suite(suite: str, release: Release) -> bool:
    suffix = next((s for s in _SUFFIXES[release.distribution] if suite.endswith(s)), "")
    names = {release.codename, *_SYMBOLIC[release.distribution]}
    return suite.removesuffix(suffix) in names


def main_suite(sources: list[PackageSource], release: Release) -> str:
    """The suite that holds the release itself: by its codename if the sources name it so."""
    suites = [suite for source in sources for suite in source.suites]
    return release.codename if release.codename in suites else suites[0]


def _is_from(
    uri: str,
    suite: str,
    source: PackageSource,
    release: Release,
    origin: Callable[[str, str], str | None],
) -> bool:
    told = origin(uri, suite)
    if told is not None:
        return told.lower() == release.distribution
    keyring = posixpath.basename(source.options.get("Signed-By", ""))
    last = posixpath.basename(urllib.parse.urlsplit(uri).path.rstrip("/"))
    return keyring.startswith(f"{release.distribution}-archive-keyring.") or last.startswith(
        release.distribution
    )


def index_file(uri: str, suite: str) -> str:
    """Name, without its ending, under which apt keeps the index of a suite in its ``lists`` directory."""
    parts = urllib.parse.urlsplit(uri)
    place = f"{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
    return urllib.parse.quote(f"{place}/dists/{suite}", safe="/:+~=,;@").replace("/", "_")


def without_password(uri: str) -> str:
    """A URI without the user and password that it may name."""
    parts = urllib.parse.urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def settings(dump: str, defaults: str) -> list[str]:
    """What the host sets of ``Acquire``: the lines of ``apt-config dump`` that the defaults do not have.

    Left out is what names programs of the host, and which further indexes to fetch.
    """
    usual = set(defaults.splitlines())
    return [
        line
        for line in dump.splitlines()
        if line.startswith("Acquire::")
        and line not in usual
        and not re.match(
            r"Acquire::(?:IndexTargets|cdrom)|.*Proxy-?Auto-?Detect", line, re.IGNORECASE
        )
    ]


def for_image(lines: list[str]) -> list[str]:
    """The settings without secrets: passwords in proxies' addresses, and the host's own client keys."""
    secret = re.compile(r'Acquire::[^ ]*Ssl(?:Cert|Key) |[^"]*"[^"/]*//[^"/]*@', re.IGNORECASE)
    return [line for line in lines if not secret.match(line)]
