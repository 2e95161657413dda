"""``make vm-test``: limits, statistics, restarts and recovery with control groups of version 2 alone, and
power cuts in the middle of a walk, in a virtual machine. Needs root, to make its root file system."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.vm.guest import ACKNOWLEDGED, commands
from tests.vm.machine import CHECKOUT, Machine, VmFailed

TESTS = """
tests/contract/test_runtime.py
tests/system/test_limits.py
tests/system/test_containers.py
tests/system/test_supervision.py
tests/system/test_recovery.py
""".split()
CHOICE = (
    "memory or processes or limits or rlimit or stats or health or restart or found_again or usage"
    " or update or confined or killed or signal"
)
PATIENCE = 1500.0  # seconds


def main() -> int:
    """Run the tests, or cut the power."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm", description=__doc__)
    parser.add_argument("--home", type=Path, default=CHECKOUT / "build-output" / "vm")
    parser.add_argument("--cuts", type=int, default=3, help="how often the power is cut")
    parser.add_argument("--no-tests", action="store_true", help="cut the power only")
    parser.add_argument("arguments", nargs="*", help="of pytest, in place of the usual ones")
    options = parser.parse_args()
    machine = Machine(options.home)
    try:
        print("vm: making the disks", flush=True)
        machine.prepare()
        status = 0 if options.no_tests else run_tests(machine, options.arguments)
        for number in range(options.cuts):
            status = status or cut_power(machine, number)
    except VmFailed as error:
        print(f"vm: {error}", file=sys.stderr)
        return 1
    return status


def run_tests(machine: Machine, arguments: list[str]) -> int:
    """The exit status of pytest in the machine."""
    words = arguments or [*TESTS, "-k", f"'{CHOICE}'"]
    command = (
        "KLEENE_REQUIRED=btrfs,oci,nftables .venv/bin/python -u -m pytest -p no:cacheprovider"
        f" --color=no --durations=5 -v {' '.join(words)}"
    )
    return machine.boot(command, shown, seconds=PATIENCE) or 0


def shown(line: str) -> bool:
    """Print a line; the power stays on."""
    print(line, flush=True)
    return False


def cut_power(machine: Machine, number: int) -> int:
    """Walk, cut the power at a moment by chance, and look what is there; the exit status of the look."""
    expected: list[str] = []
    steps = random.randint(2, len(commands(0)) + 3)

    def count(line: str) -> bool:
        before, acknowledged, what = line.partition(ACKNOWLEDGED)
        if acknowledged:
            expected.append(what)
        elif before:
            print(line, flush=True)
        return len(expected) >= steps

    walk = f".venv/bin/python -m tests.vm.guest walk {number * 10}"
    status = machine.boot(walk, count, seconds=PATIENCE)
    if status is not None:
        return status
    print(f"vm: power cut after: {', '.join(expected)}", flush=True)
    listed = "\n".join(expected)
    write = f"cat > /tmp/expected <<'END'\n{listed}\nEND"
    check = ".venv/bin/python -m tests.vm.guest check /tmp/expected"
    return machine.boot(f"{write}\n{check}", shown, seconds=PATIENCE) or 0


if __name__ == "__main__":
    sys.exit(main())
