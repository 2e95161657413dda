"""The rules that a Dockerfile is checked against, and the ``check`` directive that chooses among them.

Pure. The rules of BuildKit's reference ("Build checks") have their names; those that are Kleene's own say so
by their kind. Each has a section in ``docs/checks.md`` with its reason, and an example.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from kleene.dockerfile.excerpt import nearest, quoted
from kleene.dockerfile.flags import truth
from kleene.dockerfile.source import DockerfileWarning
from kleene.dockerfile.words import Word

PAGE = "docs/checks.md"
"""Where the rules are described; the section of a rule is called as the rule, in lower case."""


@dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        summary: why it is there, in one sentence.
        kind: a ``check`` that is violated makes ``klee build --check`` fail; an ``experimental`` one is
            off unless it is asked for; ``kleene`` marks what Docker does not check: it never fails.
    """

    name: str
    summary: str
    kind: Literal["check", "experimental", "kleene"] = "check"

    @property
    def page(self) -> str:
        """Where it is described."""
        return f"{PAGE}#{self.name.lower()}"


RULES = {
    rule.name: rule
    for rule in (
        Rule(
            "BrokenContinuation", "nothing follows the last line, which says it goes on", "kleene"
        ),
        Rule("ConsistentInstructionCasing", "instructions are all in upper or all in lower case"),
        Rule("CopyIgnoredFile", "what .dockerignore leaves out cannot be copied"),
        Rule("CopyOutsideContext", "a source above the context is taken from inside it", "kleene"),
        Rule("DeviceNotGranted", "a build is given no device of the host", "kleene"),
        Rule("DuplicateStageName", "of two stages with one name only one can be referred to"),
        Rule("ExposeInvalidFormat", "addresses and ports of the host do not belong in EXPOSE"),
        Rule("ExposeProtoCasing", "protocols are written in lower case"),
        Rule("FromAsCasing", "AS is written in the case of FROM"),
        Rule("FromPlatformFlagConstDisallowed", "a fixed platform builds for that one alone"),
        Rule("InvalidDefaultArgInFrom", "without build arguments, FROM should name an image"),
        Rule(
            "InvalidDefinitionDescription",
            "the comment above a stage or an argument begins with its name",
            "experimental",
        ),
        Rule("InvalidJSON", "a broken JSON array is plain text", "kleene"),
        Rule("JSONArgsRecommended", "a shell between stands in the way of signals"),
        Rule("LeadingWhiteSpace", "instructions begin their line", "kleene"),
        Rule("LegacyKeyValueFormat", "NAME=VALUE cannot be misread"),
        Rule("MaintainerDeprecated", "a label says who made an image"),
        Rule("MultipleInstructionsDisallowed", "only the last one in a stage counts"),
        Rule("NoEmptyContinuation", "an empty line looks like the end of an instruction"),
        Rule("RedundantTargetPlatform", "the target's platform is what FROM takes anyway"),
        Rule("ReservedStageName", "'scratch' and 'context' mean something else"),
        Rule("SecretsUsedInArgOrEnv", "who has the image can read its variables and arguments"),
        Rule("StageNameCasing", "names of stages are in lower case, whatever is written"),
        Rule("UndefinedArgInFrom", "an argument in FROM that was not declared is empty"),
        Rule("UndefinedVar", "a variable that was not declared is empty"),
        Rule("UnknownCheck", "a check that is not there cannot be skipped", "kleene"),
        Rule("UppercaseInstruction", "instructions stand out in upper case", "kleene"),
        Rule("WorkdirRelativePath", "a relative path depends on the image that is built on"),
    )
}

_ALL = "all"


@dataclass(frozen=True)
class CheckOptions:
    """Which rules count.

    Attributes:
        skip: rules that do not; ``all`` in it means all of them.
        experimental: experimental rules that do; ``all`` as well.
        error: whether a build with a violation fails.
    """

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    def wants(self, rule: Rule) -> bool:
        """Whether the rule counts."""
        if rule.kind == "experimental":
            return bool(self.experimental & {rule.name, _ALL})
        return not self.skip & {rule.name, _ALL}

    def merged(self, other: CheckOptions) -> CheckOptions:
        """With those of a comment above one instruction."""
        experimental = self.experimental | other.experimental
        return CheckOptions(self.skip | other.skip, experimental, self.error)


def read_check_options(word: Word) -> CheckOptions:
    """Read ``skip=RULE,…;experimental=RULE,…;error=true`` (Dockerfile reference, "check").

    Raises:
        DockerfileError: an option that there is not. Rules that there are not are for
            :func:`unknown_rules`: Docker has new ones at times.
    """
    found: dict[str, frozenset[str]] = {}
    for option in word.text.split(";"):
        name, equals, value = (part.strip() for part in option.partition("="))
        if not equals or name not in ("skip", "experimental", "error"):
            raise word.error(
                f"{quoted(option.strip())} is no option of 'check'",
                "write skip=RULE,RULE or skip=all, experimental=RULE, error=true; ';' between them",
            )
        found[name] = frozenset(part.strip() for part in value.split(","))
    return CheckOptions(
        found.get("skip", frozenset()),
        found.get("experimental", frozenset()),
        _is_true(word, found.get("error", frozenset({"false"}))),
    )


def violations(warnings: Iterable[DockerfileWarning]) -> list[DockerfileWarning]:
    """Those that make a check fail."""
    return [warning for warning in warnings if RULES[warning.rule].kind != "kleene"]


def _is_true(word: Word, values: frozenset[str]) -> bool:
    (value, *others) = values
    found = None if others else truth(value)
    if found is not None:
        return found
    raise word.error(f"'error' cannot be {quoted(','.join(values))}", "write error=true")


def unknown_rules(word: Word, options: CheckOptions) -> Iterator[DockerfileWarning]:
    """Warn of the rules in options that there are not."""
    for name in sorted((options.skip | options.experimental) - RULES.keys() - {_ALL}):
        near = nearest(name, sorted(RULES))
        hint = f"did you mean '{near}'?" if near else f"{PAGE} lists the rules"
        yield word.warning("UnknownCheck", f"there is no check {quoted(name)}", hint)
