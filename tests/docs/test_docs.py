"""The documentation is run: its console blocks against a real bastion, its words against the tables they come from."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from bastion.config.load import examine
from bastion.config.model import Config
from bastion.config.targets import BUILTIN_WORDS
from bastion.ssh.builtins import BUILTINS
from cli.commands import COMMANDS, load_command
from tests.docs.runnable import Block, as_pattern, blocks, not_shown, run
from tests.rig.openssh import Client
from tests.rig.world import World

ROOT = Path(__file__).parents[2]
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path
    for path in [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
}
RUNNABLE = {name: path for name, path in DOCUMENTS.items() if "```console" in path.read_text()}
SESSION = "261124-k7f3m9q"
"""The recording that documents speak of: alice's command `hostname` on web-1."""

BASTION_NAMES = ("bastion", "bastion.example.com", "BASTION")
SSH_CONFIG = "StrictHostKeyChecking yes\nHost bastion\n    HostName localhost\nHost web-*\n    Port 22\n"
OF_THE_CLIENT = {
    "administratively prohibited",
    "Permission denied (publickey,keyboard-interactive)",
    "BatchMode",
}
"""Words of OpenSSH's client, which the page explains too."""

CODE = re.compile(r"```.*?```|`[^`]+`", re.DOTALL)
SECTIONS = {"server", "log", "recording", "sessions", "certificates", "policy"}


class Readers:
    """The people of the documents, each with a folder and the programs as they call them."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self._folder = folder
        self._known_hosts = world.bastion.run("ca", "show", "host").text
        self.session = self._record()

    def run(self, block: Block) -> list[str]:
        folder = self._folder / block.person
        programs = folder / "bin"
        programs.mkdir(parents=True, exist_ok=True)
        work = folder / "work"
        work.mkdir(exist_ok=True)
        if block.person == "ops":
            work = self.world.folder
            (work / "away").mkdir(exist_ok=True)
            for name in ("bastion", "asciinema"):
                self._program(programs / name, str(Path(sys.executable).with_name(name)))
        else:
            client = self._client(block.person)
            for name in ("ssh", "scp", "sftp"):
                self._program(programs / name, f'{shutil.which(name)} -F "{client.config}"')
        text = block.text.replace(SESSION, self.session).replace("2026/11/24", self._day())
        block = Block(language=block.language, person=block.person, text=text)
        return run(block, folder=work, path=programs, variables={"COLUMNS": "200"})

    def _client(self, person: str) -> Client:
        folder = self._folder / person / "ssh"
        certified = self.world.certified(person)
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            for file in certified.folder.glob("id_ed25519*"):
                shutil.copy2(file, folder)
        client = Client(folder, port=self.world.bastion.port, settings=SSH_CONFIG)
        client.known_hosts.write_text(self._known_hosts)
        return client

    def _record(self) -> str:
        for person in ("alice", "bob", "carol"):  # signed in before anything is listed
            self.world.certified(person)
        assert self.world.certified("alice").run("web-1@localhost", "hostname").status == 0
        return self.world.recordings[0].stem

    def _day(self) -> str:
        return f"20{self.session[:2]}/{self.session[2:4]}/{self.session[4:6]}"

    @staticmethod
    def _program(file: Path, command: str) -> None:
        file.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        file.chmod(0o755)


@pytest.fixture(scope="module")
def readers(world: World, tmp_path_factory: pytest.TempPathFactory) -> Readers:
    return Readers(world, tmp_path_factory.mktemp("readers"))


@pytest.mark.parametrize("name", RUNNABLE)
def test_commands_of_a_document_do_what_it_shows(name: str, readers: Readers) -> None:
    people = {"alice", "bob", "carol", "ops"}
    found = [block for block in blocks(RUNNABLE[name]) if block.language == "console"]
    assert all(block.person in people for block in found)
    wrong = [problem for block in found for problem in readers.run(block)]
    assert not wrong, "\n".join(wrong)


def test_every_kind_of_document_has_commands_that_are_run() -> None:
    """Guards the test above against a regular expression that finds nothing."""
    assert {"docs/engineers.md", "docs/auditors.md", "docs/ops.md"} <= set(RUNNABLE)
    assert (
        sum(len(block.commands) for path in RUNNABLE.values() for block in blocks(path) if block.person) > 30
    )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_and_options_that_a_document_names_exist(name: str) -> None:
    unknown = [line for line in commands_named(DOCUMENTS[name].read_text()) if not exists(line.split())]
    assert not unknown


@pytest.mark.parametrize("name", DOCUMENTS)
def test_words_over_ssh_that_a_document_names_exist(name: str) -> None:
    targets = re.compile(r"(\S+@)?(web-\d|db-\d|x|(prod-k8s|orders-db)(/\S+)?)")
    words = {word for word in words_named(DOCUMENTS[name].read_text()) if not targets.fullmatch(word)}
    assert words <= {*BUILTINS, "login"}


@pytest.mark.parametrize("name", sorted(set(DOCUMENTS) - {"docs/policy.md"}))  # tests/policy has that one
def test_settings_that_a_document_names_exist(name: str, tmp_path: Path) -> None:
    text = DOCUMENTS[name].read_text()
    unknown = [name for name in settings_named(text) if not is_setting(name) and not is_event(name)]
    assert not unknown
    for block in blocks(DOCUMENTS[name]):
        if block.language == "toml":
            file = tmp_path / "bastion.toml"
            file.write_text(block.text)
            assert not examine(file).errors


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_of_a_document_lead_somewhere(name: str) -> None:
    path = DOCUMENTS[name]
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        file, _, anchor = link.partition("#")
        if "://" in file:
            continue
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), link
        assert not anchor or anchor in anchors(there.read_text()), link


def test_messages_that_the_page_for_engineers_explains_are_still_said() -> None:
    table = (
        DOCUMENTS["docs/engineers.md"].read_text().partition("## When it says no")[2].partition("\n## ")[0]
    )
    said = sources()
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    fixed = [longest_fixed(message) for cell in cells for message in re.findall(r"`([^`]+)`", cell)]
    assert len(fixed) > 15
    assert [part for part in fixed if part not in said and part not in OF_THE_CLIENT] == []


def test_readme_leads_to_every_document() -> None:
    readme = DOCUMENTS["README.md"].read_text()
    assert [name for name in DOCUMENTS if name.startswith("docs/") and name not in readme] == []


def test_shown_lines_are_compared_but_for_what_differs_from_run_to_run() -> None:
    """Guards the comparison itself: it takes other ids and times, and nothing else."""
    line = f"{SESSION}  2026-11-24 10:02  4m12s  alice  exited 0"
    assert as_pattern(line).fullmatch("270101-0000000  2027-01-01 00:00  1h02m  alice   exited 0")
    assert not as_pattern(line).fullmatch("270101-0000000  2027-01-01 00:00  1h02m  bob   exited 0")
    assert not_shown(["a", "c"], ["a", "b", "c"]) is None
    assert not_shown(["c", "a"], ["a", "b", "c"]) == "a"


def longest_fixed(message: str) -> str:
    """The longest piece of *message* in which nothing stands for something else."""
    parts = re.split(r"…|: |open a shell on|REASON|web-1|\bx\b|\d+|deploy, ops|deploy|root|login@", message)
    return max((part.strip() for part in parts), key=len)


def sources() -> str:
    """The sources of all packages, strings that go over several lines in one piece."""
    packages = ("bastion", "cli", "policy", "recorder")
    text = "".join(
        file.read_text() for package in packages for file in sorted((ROOT / package).rglob("*.py"))
    )
    return re.sub(r'"\n\s+f?"', "", text)


def code(text: str) -> Iterator[str]:
    """The lines of code in *text*, from blocks and from between backticks, without prompts."""
    indented = re.findall(r"^    (.+)$", text, re.MULTILINE)
    for part in [*CODE.findall(text), *indented]:
        for line in part.strip("`").splitlines():
            yield re.sub(r"^(\$ |# )", "", line.strip())
        if not part.startswith("```") and "\n" in part:
            yield " ".join(part.strip("`").split())


def commands_named(text: str) -> list[str]:
    found = []
    for line in code(text):
        command = re.match(r"(?:sudo (?:-u bastion )?)?bastion (.+)", line)
        if command is not None:
            found.append(re.split(r"[;#|>]|, ", command[1], maxsplit=1)[0])
    return found


def exists(words: list[str]) -> bool:
    """Whether *words* after `bastion` begin with a command there is, and all options in them are options of it."""
    while words and words[0] == "--config":
        words = words[2:]
    if words and words[0] in {"--help", "--version"}:
        return True
    if not words or words[0] not in COMMANDS:
        return False
    command, rest = load_command(words[0]), words[1:]
    if isinstance(command, click.Group) and rest:
        sub = command.commands.get(rest[0].strip("…."))
        if sub is None:
            return False
        command, rest = sub, rest[1:]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return all(word in options for word in rest if word.startswith("--"))


def words_named(text: str) -> Iterator[str]:
    """First words after `ssh … bastion`, and user names before `@bastion`, unless they are of no fixed form."""
    for line in code(text):
        for found in re.finditer(r"\bssh ((?:-\S+ (?:\d+ )?)*)(\S+)(?: ([a-z]\S*))?", line):
            user, at, host = found[2].rpartition("@")
            if host not in BASTION_NAMES or "-J" in found[1]:  # the word after a jump is a host
                continue
            if at:
                yield user
            elif found[3]:
                yield found[3]


def settings_named(text: str) -> Iterator[str]:
    for part in re.findall(r"`([^`\n]+)`", text):
        if (found := re.fullmatch(r"\[+([a-z_.]+)\]+(?: ([a-z_]+)(?: = .*)?)?", part)) is not None:
            yield ".".join(filter(None, found.groups()))
        elif re.fullmatch(rf"(?:{'|'.join(SECTIONS)})\.[a-z_]+", part):
            yield part
        elif (found := re.fullmatch(r"([a-z_]+) = .+", part)) is not None:
            yield f"*.{found[1]}"


def is_setting(path: str) -> bool:
    first, *rest = path.split(".")
    if first == "*":
        return any(rest[0] in model.model_fields for model in models(Config))
    model: type[BaseModel] | None = Config
    for name in (first, *rest):
        if model is None or name not in model.model_fields:
            return False
        model = next(iter(inner(model, name)), None)
    return True


def is_event(name: str) -> bool:
    """Whether *name* is an audit event or a line of the log: those look like settings."""
    return f'"{name}"' in sources()


def models(root: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield root
    for name in root.model_fields:
        for model in inner(root, name):
            yield from models(model)


def inner(model: type[BaseModel], name: str) -> list[type[BaseModel]]:
    """The models in the type of the field *name*."""
    waiting, found = [model.model_fields[name].annotation], []
    while waiting:
        annotation = waiting.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        waiting += getattr(annotation, "__args__", ())
    return found


def anchors(text: str) -> set[str]:
    """The names by which GitHub lets a link lead to a heading."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_words_of_the_bastion_are_reserved() -> None:
    assert set(BUILTINS) <= BUILTIN_WORDS
