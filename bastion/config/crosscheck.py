"""What can be wrong between settings that are each right: duplicates, keys that are none, rules that never match.

Every check is a generator of problems over one draft. An error stops the bastion, a warning does not. Knows the
meaning of settings; reads no file of the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import asyncssh

from bastion.config.model import Config
from bastion.config.problem import Problem, Severity, harmless, shown
from bastion.config.targets import KubernetesTarget, PostgresTarget, SshTarget, Target
from bastion.config.values import EXAMPLE_RECIPIENT, is_loopback
from bastion.transport.algorithms import host_key_algorithms
from policy.match import TargetFacts, names_target
from policy.patterns import USER, any_matches, matches
from policy.rules import Rule


class Place(NamedTuple):
    """Where something stands: the file, and the path in it."""

    file: Path
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A configuration whose single settings are right, and where the elements of its lists stand.

    *is_whole* is false when broken settings were left out: then what is absent proves nothing.
    """

    file: Path
    config: Config
    targets: Sequence[Place]
    issuers: Sequence[Place]
    rules: Sequence[Place]
    auditors: Sequence[Place]
    is_whole: bool


def crosscheck(draft: Draft) -> Iterator[Problem]:
    """Everything that is wrong between the settings of *draft*."""
    yield from _duplicates(draft)
    for target, place in zip(draft.config.targets, draft.targets, strict=True):
        yield from target_problems(target, place)
    for issuer, place in zip(draft.config.issuers, draft.issuers, strict=True):
        yield from _file_exists(issuer.client_secret_file, place, "client_secret_file")
        if issuer.device_flow_from and not issuer.device_flow:
            message = "has no effect while device_flow is false"
            yield _found("warning", place, "device_flow_from", message)
    yield from _development(draft)
    yield from _encryption(draft)
    for rule, place in zip(draft.config.policy.rules, draft.rules, strict=True):
        yield from _dead_rule(rule, place)
    if draft.is_whole:
        yield from _missing_parts(draft)
        yield from _names_no_target(draft)
        yield from _unreachable_login(draft)


def _found(
    severity: Severity, place: Place, setting: str, message: str, hint: str = "", value: str | None = None
) -> Problem:
    path = ".".join(part for part in (place.path, setting) if part)
    return Problem(severity=severity, file=place.file, path=path, message=message, hint=hint, value=value)


def _duplicates(draft: Draft) -> Iterator[Problem]:
    config = draft.config
    named: list[tuple[str, str, list[str], Sequence[Place]]] = [
        ("a target", "name", [target.name for target in config.targets], draft.targets),
        ("a rule", "name", [rule.name for rule in config.policy.rules], draft.rules),
        ("an issuer", "alias", [issuer.alias for issuer in config.issuers], draft.issuers),
        ("an issuer", "issuer", [issuer.issuer for issuer in config.issuers], draft.issuers),
    ]
    for what, setting, names, places in named:
        first: dict[str, Place] = {}
        for name, place in zip(names, places, strict=True):
            before = first.setdefault(name, place)
            if before is not place:
                where = before.path if before.file == place.file else f"{before.path} in {before.file.name}"
                message = f"{where} is {what} with this {setting} already"
                yield _found("error", place, setting, message, "Rename or remove one of them.", shown(name))


def target_problems(target: Target, place: Place) -> Iterator[Problem]:
    """What is wrong with *target* by itself: how it is known, and the files it is signed in to with."""
    match target:
        case SshTarget():
            yield from _host_key_problems(target, place)
            yield from _file_exists(target.key_file, place, "key_file")
        case PostgresTarget():
            yield from _account_problems(target, place)
            yield from _file_exists(target.tls_ca, place, "tls_ca")
        case KubernetesTarget():
            yield from _file_exists(target.kubeconfig, place, "kubeconfig")


def _account_problems(target: PostgresTarget, place: Place) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, account in enumerate(target.accounts):
        path = f"accounts[{index}]"
        if account.login in seen:
            yield _found("error", place, f"{path}.login", "is there already", value=shown(account.login))
        seen.add(account.login)
        if (account.certificate_file is None) != (account.key_file is None):
            message = "has one of certificate_file and key_file, and needs both or neither"
            yield _found("error", place, path, message)
        for setting in ("password_file", "certificate_file", "key_file"):
            yield from _file_exists(getattr(account, setting), place, f"{path}.{setting}")


def _host_key_problems(target: SshTarget, place: Place) -> Iterator[Problem]:
    """What keeps the bastion from knowing whether it talks to *target*."""
    if not target.host_keys and not target.host_ca:
        message = "has neither host_keys nor host_ca, so the bastion cannot know whom it talks to"
        hint = f"Run bastion target scan {target.name}, compare, and put what it prints into host_keys."
        yield _found("error", place, "", message, hint)
    for setting, keys in (("host_keys", target.host_keys), ("host_ca", target.host_ca)):
        for index, key in enumerate(keys):
            if (wrong := _wrong_with_key(key)) is not None:
                message, hint = wrong
                yield _found("error", place, f"{setting}[{index}]", message, hint, harmless(key))


def _wrong_with_key(text: str) -> tuple[str, str] | None:
    """Why *text* is not one public key, and what to do."""
    if "PRIVATE KEY" in text:
        return "this is a private key", "Put the public key here, and treat the private one as lost."
    if len(text.strip().splitlines()) != 1:
        return "must be one key on one line", "Give each key its own quotes."
    try:
        key = asyncssh.import_public_key(text)
    except asyncssh.KeyImportError:
        words = text.split()
        if len(words) > 2 and _wrong_with_key(" ".join(words[1:])) is None:
            return "has something before the key", f"Leave out {shown(words[0])}."
        return (
            "this is not a public key",
            'Write it as ssh-keyscan does, without the host: "ssh-ed25519 AAAA…".',
        )
    if not host_key_algorithms([key], legacy=True):
        return "is of a kind that proves nothing here", "Take an ed25519, ECDSA or RSA key of that host."
    return None


def _file_exists(file: Path | None, place: Place, setting: str) -> Iterator[Problem]:
    try:
        if file is not None:
            file.stat()
    except OSError as error:
        reason = error.strerror or "it cannot be found"
        yield _found("warning", place, setting, f"the file cannot be used: {reason.lower()}")


def _encryption(draft: Draft) -> Iterator[Problem]:
    settings, place = draft.config.recording, Place(draft.file, "recording")
    for index, key in enumerate(settings.encrypt_to):
        if key == EXAMPLE_RECIPIENT:
            message = "is the key of the example: what is encrypted to it nobody can read"
            yield _found("error", place, f"encrypt_to[{index}]", message, "Make your own: age-keygen -o FILE")
    if not settings.search_encrypted:
        return
    if not settings.search:
        yield _found("warning", place, "search_encrypted", "has no effect while search is false")
    elif draft.is_whole and not settings.encrypt_to:
        yield _found("warning", place, "search_encrypted", "has no effect without encrypt_to")


def _development(draft: Draft) -> Iterator[Problem]:
    config, issuer = draft.config, draft.config.development_issuer
    if issuer is None:
        return
    place = Place(draft.file, "development_issuer")
    if draft.is_whole and not is_loopback(config.server.address):
        message = "asks nobody for a password, and the bastion listens on more than this machine"
        yield _found(
            "warning", place, "", message, 'Set server.address to "127.0.0.1", or remove the section.'
        )
    if config.issuers:
        yield _found("warning", place, "", "stands beside real issuers: whoever reaches it can be anybody")
    if issuer.port and issuer.port == config.server.port:
        yield _found(
            "error", place, "port", "is the port of the server too", "Choose another.", str(issuer.port)
        )
    seen: set[str] = set()
    for index, person in enumerate(issuer.people):
        if person.user in seen:
            yield _found(
                "error", place, f"people[{index}].user", "is there already", value=shown(person.user)
            )
        seen.add(person.user)
    if not issuer.people and draft.is_whole:
        yield _found(
            "warning",
            place,
            "people",
            "is empty, so nobody can sign in",
            "Add [[development_issuer.people]].",
        )


def _dead_rule(rule: Rule, place: Place) -> Iterator[Problem]:
    """Lists that were written empty: what they leave is a rule that never matches."""
    empty = [name for name in ("logins", "actions") if not getattr(rule, name)]
    if not rule.groups and not rule.users:
        empty.append("groups and users")
    if not rule.targets and not rule.labels:
        empty.append("targets and labels")
    for name in empty:
        yield _found("warning", place, "", f"the rule {shown(rule.name)} never matches: empty {name}")


def _missing_parts(draft: Draft) -> Iterator[Problem]:
    config, whole = draft.config, Place(draft.file, "")
    if not config.issuers and config.development_issuer is None:
        yield _found("warning", whole, "issuers", "there is none, so nobody can sign in", "Add [[issuers]].")
    if not config.targets:
        yield _found(
            "warning", whole, "targets", "there is none to reach", "Add one with: bastion target add"
        )
    if not any(rule.effect == "allow" for rule in config.policy.rules):
        message = "nothing is allowed, so nobody may reach anything"
        yield _found("warning", whole, "policy.rules", message, "Add [[policy.rules]].")
    if is_loopback(config.server.public_name) and not is_loopback(config.server.address):
        message = "is a name of this machine only, though the bastion listens for others"
        hint = "Write the name people type after ssh; it must stand in the host certificate."
        yield _found("warning", whole, "server.public_name", message, hint, shown(config.server.public_name))


def _names_no_target(draft: Draft) -> Iterator[Problem]:
    """Patterns and labels that fit no target there is: a slip of the pen, or a target to come."""
    policy, names = draft.config.policy, [target.name for target in draft.config.targets]
    facts = [_facts(target) for target in draft.config.targets]
    if not names:
        return
    patterns = [(rule.targets, place) for rule, place in zip(policy.rules, draft.rules, strict=True)]
    patterns += [(rule.targets, place) for rule, place in zip(policy.auditors, draft.auditors, strict=True)]
    for targets, place in patterns:
        for index, pattern in enumerate(targets):
            if not any(matches(pattern, name) for name in names):
                yield _found("warning", place, f"targets[{index}]", "matches no target", value=shown(pattern))
    for rule, place in zip(policy.rules, draft.rules, strict=True):
        if rule.labels and not any(names_target(rule, target) for target in facts):
            yield _found("warning", place, "labels", "no target that the rule names has these labels")


def _unreachable_login(draft: Draft) -> Iterator[Problem]:
    """Default logins that no rule allows to anybody."""
    for target, place in zip(draft.config.targets, draft.targets, strict=True):
        allowed = [
            pattern.replace(USER, "*")
            for rule in draft.config.policy.rules
            if rule.effect == "allow" and names_target(rule, _facts(target))
            for pattern in rule.logins
        ]
        if allowed and target.login is not None and not any_matches(allowed, target.login):
            yield _found(
                "warning", place, "login", "no rule allows this login there", value=shown(target.login)
            )


def _facts(target: Target) -> TargetFacts:
    return TargetFacts(name=target.name, kind=target.kind, labels=target.labels)
