"""What datasets and snapshots of a ZFS pool hold, alone and together, from ZFS' own accounts. Pure.

ZFS counts every block once, for the dataset that wrote it (zfsprops(7), ``used``): a clone's account has what
it wrote itself, its origin's the rest. So accounts add up, but for two things. A snapshot that has a clone
left behind stays. And blocks that only several snapshots of one dataset share are in none of their accounts:
for these the tool is asked (``zfs destroy -nvp``, zfs-destroy(8)), where it can tell.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

OLD_PROPERTIES = ("used", "usedbydataset", "usedbysnapshots", "referenced", "origin", "kleene:gone")
PROPERTIES = (*OLD_PROPERTIES, "written")


@dataclass(frozen=True)
class Account:
    """A row of ``zfs list``, of a dataset or a snapshot, in bytes.

    Attributes:
        live: of a dataset: what it has now and its origin has not, its snapshots gone.
        frozen: of a dataset: what is in its snapshots alone.
        written: of a dataset: what is not in its last snapshot; 0 if that is not known.
        gone: a snapshot that was destroyed, and goes with its last clone.
    """

    name: str
    used: int
    live: int
    frozen: int
    written: int
    referenced: int
    origin: str
    gone: bool


@dataclass(frozen=True)
class Freed:
    """What comes free: ``sure`` bytes, and of each dataset in ``together`` what these snapshots share."""

    sure: int
    together: dict[str, list[str]] = field(default_factory=dict)


def accounts(output: str) -> list[Account]:
    """Read what ``zfs get -Hp -r -o name,property,value`` tells of :data:`PROPERTIES`."""
    found: dict[str, dict[str, str]] = {}
    for line in output.splitlines():
        name, key, value = line.split("\t")
        found.setdefault(name, {})[key] = value
    return [_account(name, values) for name, values in found.items()]


def _account(name: str, values: dict[str, str]) -> Account:
    used, live, frozen, referenced = (_number(values.get(key, "-")) for key in PROPERTIES[:4])
    written, origin = _number(values.get("written", "-")), values.get("origin", "-")
    gone = values.get("kleene:gone") == "yes"
    return Account(name, used, live, frozen, written, referenced, origin, gone)


def _number(text: str) -> int:
    """``-`` is what a dataset or snapshot does not have."""
    return int(text) if text.isdecimal() else 0


class Pool:
    """The accounts of all datasets and snapshots, by full names."""

    def __init__(self, accounts: Collection[Account]) -> None:
        self._accounts = {each.name: each for each in accounts}
        self._snapshots: dict[str, list[str]] = {}
        self._clones: dict[str, set[str]] = {}
        for each in accounts:
            dataset, at, _ = each.name.partition("@")
            if at:
                self._snapshots.setdefault(dataset, []).append(each.name)
            elif each.origin != "-":
                self._clones.setdefault(each.origin, set()).add(each.name)

    def referenced(self, names: Collection[str]) -> int:
        """What the largest of them refers to."""
        found = [self._accounts[name] for name in names if name in self._accounts]
        return max((each.referenced for each in found), default=0)

    def freed(self, names: Collection[str]) -> Freed:
        """What comes free when datasets and snapshots are destroyed together."""
        names = set(names) & self._accounts.keys()
        names |= self._reclaimed(names)
        sure, together = 0, {}
        for dataset in {name.partition("@")[0] for name in names}:
            have = self._snapshots.get(dataset, [])
            going = [
                name for name in have if name in names and self._clones.get(name, set()) <= names
            ]
            all_go = len(going) == len(have)
            if dataset in names:
                account = self._accounts[dataset]
                sure += account.live if all_go else account.written
            if all_go:
                sure += self._accounts[dataset].frozen
            elif len(going) == 1:
                sure += self._accounts[going[0]].used
            elif going:
                together[dataset] = going
        return Freed(sure, together)

    def _reclaimed(self, names: Collection[str]) -> set[str]:
        """The destroyed snapshots whose last clones go."""
        return {
            origin
            for origin, clones in self._clones.items()
            if origin in self._accounts and self._accounts[origin].gone and clones <= set(names)
        }

    def at_least(self, snapshots: Collection[str]) -> int:
        """What comes free with several snapshots of one dataset, less what only they share."""
        return sum(self._accounts[name].used for name in snapshots)


def reclaimed(output: str) -> int | None:
    """The bytes that ``zfs destroy -nvp`` says it would free; ``None`` if it does not."""
    for line in output.splitlines():
        word, _, number = line.partition("\t")
        if word == "reclaim" and number.isdecimal():
            return int(number)
    return None
