"""Where the daemon is and how output looks: flags over environment over configuration file.

The file is the one named by ``--config`` or ``KLEE_CONFIG``, else the first that exists of
``./klee_config.yaml``, ``~/.klee/klee_config.yaml`` and the system's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from kleene.client.address import DEFAULT_HOST, UnusableSetting

THEMES = ("fancy", "simple")
UPLOADS = ("auto", "always", "never")
"""Whether the directory of a build is sent; ``auto``: to a daemon that is reached over a network."""

_ENVIRONMENT = {
    "host": "KLEE_HOST",
    "theme": "KLEE_THEME",
    "upload": "KLEE_UPLOAD",
    "tlsverify": "KLEE_TLS_VERIFY",
    "tlscacert": "KLEE_TLS_CACERT",
    "tlscert": "KLEE_TLS_CERT",
    "tlskey": "KLEE_TLS_KEY",
}
_EMPTY = ("tlsverify",)
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


class Settings(NamedTuple):
    """What was set, or the default."""

    host: str = DEFAULT_HOST
    theme: str = "fancy"
    upload: str = "auto"
    tlsverify: bool = True
    tlscacert: str | None = None
    tlscert: str | None = None
    tlskey: str | None = None


def load_settings(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Put the settings together.

    Args:
        flags: values of the root command's options by name; ``None`` for those not given.

    Raises:
        UnusableSetting: the configuration file or a value in it, or an environment variable, is not valid.
    """
    path = _config_path(flags.get("config"), environ)
    values = _read_file(path) if path is not None else {}
    # A variable that is empty is not set; but to check the certificate can be switched off so.
    values |= {
        k: environ[v]
        for k, v in _ENVIRONMENT.items()
        if v in environ and (environ[v] or k in _EMPTY)
    }
    values |= {k: v for k, v in flags.items() if v is not None and k in _ENVIRONMENT}
    return _checked(values)


def _config_path(flag: str | None, environ: Mapping[str, str]) -> str | None:
    named = flag or environ.get("KLEE_CONFIG")
    if named:
        return named
    system = "/etc/klee" if sys.platform.startswith("linux") else "/usr/local/etc/klee"
    home = environ.get("HOME", "")
    places = [".", f"{home}/.klee" if home else "", system]
    paths = [f"{place}/klee_config.yaml" for place in places if place]
    return next((p for p in paths if os.access(p, os.F_OK)), None)


def _read_file(path: str) -> dict[str, Any]:
    import yaml

    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib is dear
            values = yaml.safe_load(file)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UnusableSetting(
            f"cannot read the configuration file '{path}': {reason}",
            hint="name another: klee --config FILE",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UnusableSetting(
            f"the configuration file '{path}' is not valid YAML", details=str(error)
        ) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UnusableSetting(f"the configuration file '{path}' must hold lines 'NAME: VALUE'")
    _check_names(path, values)
    return {k: v for k, v in values.items() if v is not None}


def _check_names(path: str, values: Mapping[str, Any]) -> None:
    for name in values:
        if name not in _ENVIRONMENT:
            from kleene.names import nearest

            near = nearest(str(name), _ENVIRONMENT)
            meant = f"did you mean '{near}'? " if near else ""
            raise UnusableSetting(
                f"unknown parameter '{name}' in the configuration file '{path}'",
                hint=f"{meant}known are: {', '.join(_ENVIRONMENT)}",
            )


def _checked(values: dict[str, Any]) -> Settings:
    for name, value in values.items():
        if name == "tlsverify":
            values[name] = _boolean(value)
        elif not isinstance(value, str):
            raise UnusableSetting(f"the value of '{name}' must be text, not '{value}'")
    theme = values.get("theme", "fancy")
    if theme not in THEMES:
        raise UnusableSetting(f"unknown theme '{theme}'", hint=f"known are: {', '.join(THEMES)}")
    upload = values.get("upload", "auto")
    if upload not in UPLOADS:
        raise UnusableSetting(
            f"the value of 'upload' must be one of {', '.join(UPLOADS)}, not '{upload}'"
        )
    return Settings(**values)


def _boolean(value: object) -> bool:
    word = str(value).lower()
    if word not in _TRUE + _FALSE:
        raise UnusableSetting(f"the value of 'tlsverify' must be true or false, not '{value}'")
    return word in _TRUE
