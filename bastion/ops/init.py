"""Making a bastion out of nothing: a configuration, folders, keys, and what to do next.

Whatever is there already is kept and named, so that it can be run again: after a crash, after a lost key, or with a
configuration that somebody wrote by hand. Asks nothing; the answers come in.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bastion.ca.authorities import Authorities
from bastion.ca.keys import create_missing_keys, is_private
from bastion.ca.lines import install_lines
from bastion.config.load import load
from bastion.config.model import Config
from bastion.config.shape import shape
from bastion.config.write import literal
from bastion.errors import ConfigError
from bastion.ops.modes import check_modes
from bastion.ops.service_unit import SERVICE_USER, service_unit
from bastion.runtime.files import create_file, make_private_folder
from bastion.state.ca_keys import AuthorityName
from bastion.state.store import State
from recorder.keys import SigningKey

CONFIG_MODE = 0o640
UNIT_MODE = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerAnswers:
    """The identity provider, as [[issuers]] has it."""

    alias: str
    issuer: str
    client_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a new configuration is made of. *administrators* is the group that may reach everything, if any."""

    data: Path
    public_name: str
    port: int
    address: str = ""
    issuer: IssuerAnswers | None = None
    administrators: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something left to do: why, and the lines to paste."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was made and what was there, and what comes next."""

    made: tuple[Path, ...]
    kept: tuple[Path, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Where a systemd unit goes, and the command it starts."""

    file: Path
    program: Path


async def initialise(
    config_file: Path, answers: Answers | None, *, now: Callable[[], float], unit: Unit | None = None
) -> Outcome:
    """Make what is missing. *answers* are needed only where there is no configuration in *config_file* yet.

    Raises ConfigError when the configuration, new or old, is wrong, before anything else is made.
    """
    config_file = config_file.absolute()
    made: list[Path] = []
    kept: list[Path] = []

    def note(path: Path, is_new: bool) -> None:
        (made if is_new else kept).append(path)

    note(config_file, _write_config(config_file, answers))
    config = load(config_file)
    note(config.data, make_private_folder(config.data))
    note(config.state_file, not config.state_file.exists())
    async with await State.open(config.state_file, now) as state:
        kept += _key_files(config.keys_folder)
        made += await create_missing_keys(config.keys_folder, state, now)
        if not config.recorder_key_file.exists():
            SigningKey.create(config.recorder_key_file)
            made.append(config.recorder_key_file)
        # Opening them makes the host certificate, and finds out now what the first start would trip over.
        await Authorities.open(config.keys_folder, state, config.certificates, config.server.public_name, now)
        if made:
            await state.audit.record("bastion.initialised", made=[str(path) for path in made])
        steps = await _next_steps(config, config_file, state, unit)
    if unit is not None:
        note(unit.file, _write_unit(unit, config, config_file))
    check_modes(config)
    return Outcome(made=tuple(made), kept=tuple(kept), steps=tuple(steps))


def config_text(answers: Answers) -> str:
    """A short bastion.toml."""
    issuer, group = answers.issuer, answers.administrators
    # What nobody answered stays as a comment to be filled in.
    issuer_mark, rule_mark = "" if issuer else "#", "" if group else "#"
    issuer = issuer or IssuerAnswers(alias="corp", issuer="https://login.example.com", client_id="bastion")
    return f"""\
# The configuration of this bastion. bastion.toml.example explains every setting there is;
# `bastion check` tells what is wrong with this file.
data = {literal(str(answers.data))}

[server]
public_name = {literal(answers.public_name)}
address = {literal(answers.address)}
port = {literal(answers.port)}

# Who people are: an OpenID Connect provider at which this bastion is a public, native client.
{issuer_mark}[[issuers]]
{issuer_mark}alias = {literal(issuer.alias)}
{issuer_mark}issuer = {literal(issuer.issuer)}
{issuer_mark}client_id = {literal(issuer.client_id)}

# What they may do. Nothing is allowed without a rule; a rule with effect = "deny" wins over all others.
{rule_mark}[[policy.rules]]
{rule_mark}name = "administrators everywhere"
{rule_mark}groups = {literal([group or "admins"])}
{rule_mark}targets = ["*"]
{rule_mark}logins = ["{{user}}", "root"]
{rule_mark}actions = ["shell", "exec", "sftp"]

# Who may replay other people's sessions.
{rule_mark}[[policy.auditors]]
{rule_mark}groups = {literal([group or "admins"])}

# Targets: `bastion target add NAME ADDRESS` writes them to targets.d beside this file.
"""


def _write_config(file: Path, answers: Answers | None) -> bool:
    """Write the configuration if there is none; whether it is new."""
    if file.exists():
        return False
    if answers is None:
        raise ConfigError(f"there is no configuration in {file}", hint="Leave out --config, or name another.")
    text = config_text(answers)
    problems = shape(Config, tomllib.loads(text), file).problems
    if problems:
        raise ConfigError("\n".join(str(problem) for problem in problems))
    file.parent.mkdir(parents=True, exist_ok=True)
    create_file(file, text.encode(), mode=CONFIG_MODE)
    return True


def _write_unit(unit: Unit, config: Config, config_file: Path) -> bool:
    try:
        create_file(unit.file, service_unit(config, config_file, unit.program).encode(), mode=UNIT_MODE)
    except FileExistsError:
        return False
    return True


def _key_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if is_private(path))


async def _next_steps(config: Config, config_file: Path, state: State, unit: Unit | None) -> list[Step]:
    server, file, data = config.server, shlex.quote(str(config_file)), shlex.quote(str(config.data))
    port = server.public_port or server.port

    async def lines(authority: AuthorityName) -> tuple[str, ...]:
        keys = [key for key in await state.ca_keys.list(authority) if key.status != "retired"]
        return tuple(
            install_lines(keys, server.public_name, port, [target.name for target in config.targets])
        )

    steps = [
        Step(
            title="On every SSH target, let the bastion in: put this into /etc/ssh/bastion_ca.pub, and the line"
            " TrustedUserCAKeys /etc/ssh/bastion_ca.pub into its sshd_config",
            lines=await lines("target"),
        ),
        Step(
            title="For everybody who connects, prove the bastion: put this into ~/.ssh/known_hosts or"
            " /etc/ssh/ssh_known_hosts",
            lines=await lines("host"),
        ),
        Step(title="See what is missing in the configuration", lines=(f"bastion --config {file} check",)),
    ]
    if unit is None:
        steps.append(Step(title="Start it", lines=(f"bastion --config {file} serve",)))
    else:
        steps.append(
            Step(
                title="Give the files to the service's user and start it, as root",
                lines=(
                    f"id -u {SERVICE_USER} >/dev/null 2>&1 || useradd --system --home-dir {data}"
                    f" --shell /usr/sbin/nologin {SERVICE_USER}",
                    f"chown -R {SERVICE_USER}: {data}",
                    f"chgrp {SERVICE_USER} {file}",
                    "systemctl daemon-reload",
                    f"systemctl enable --now {unit.file.name}",
                ),
            )
        )
    return steps
