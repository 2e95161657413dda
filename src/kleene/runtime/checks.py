"""Whether this host can do what the options of a container ask for. Pure but for the host's record."""

from __future__ import annotations

from kleene.runtime import devices, limits, privileges, sysctls
from kleene.runtime.cgroups import Cgroups
from kleene.runtime.oci_spec import Host
from kleene.runtime.options import Options


def check_options(options: Options, host: Host, groups: Cgroups) -> None:
    """Refuse what cannot be done.

    Raises:
        InvalidInput: names the option and why.
    """
    limits.check(options.limits)
    groups.check(limits.controllers(options.limits))
    privileges.check_capabilities(options.cap_add, host.capabilities)
    for limit in options.rlimits:
        privileges.check_rlimit(limit)
        if "CAP_SYS_RESOURCE" not in host.capabilities:
            privileges.check_raisable(limit, host.hard_limits.get(limit.name, -1))
    for device in options.devices:
        devices.check(device)
    for name, value in options.sysctls.items():
        sysctls.check(name, value)
