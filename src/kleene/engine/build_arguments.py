"""Build arguments for the builder (Dockerfile reference, "BuildKit built-in build args").

Pure. Those that have no meaning here, as ``BUILDKIT_INLINE_CACHE``, are taken without a word.
"""

from __future__ import annotations

import msgspec

from kleene.schemas.images import ImageBuildConfig

_HOSTNAME = "BUILDKIT_SANDBOX_HOSTNAME"
_KEEP_GIT_DIR = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"


def with_settings(config: ImageBuildConfig) -> ImageBuildConfig:
    """The build with the host name that an argument gives the build container, unless an option has."""
    name = config.buildargs.get(_HOSTNAME)
    if not name or config.container_config.hostname:
        return config
    container = msgspec.structs.replace(config.container_config, hostname=name)
    return msgspec.structs.replace(config, container_config=container)


def keeps_git_dir(config: ImageBuildConfig) -> bool:
    """Whether a context that is a git repository has its ``.git``."""
    return config.buildargs.get(_KEEP_GIT_DIR, "").lower() in ("1", "true")
