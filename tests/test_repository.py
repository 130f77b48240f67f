"""What must hold for the repository as a whole, whatever the code does."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cli.commands import COMMANDS

ROOT = Path(__file__).parent.parent
PACKAGES = ("bastion", "cli", "policy", "recorder")
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix)
DOCUMENTS = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PARTS = {"pydantic-core": "pydantic"}
"""Distributions that another one pins exactly and documents as its own."""
STANDARD = sys.stdlib_module_names | {"compression"}  # the latter from Python 3.14 on
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked() -> list[Path]:
    """The files of the repository; from git where there is one, else whatever is not made by running things."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        names = subprocess.check_output(["git", "-C", str(ROOT), "ls-files", "-z"], text=True).split("\0")
        return [path for name in names if name and (path := ROOT / name).is_file()]
    made = {".venv", ".demo", "__pycache__", "dist", "node_modules", ".hypothesis"}
    return [p for p in ROOT.rglob("*") if p.is_file() and not made & set(p.parts) and "_cache" not in str(p)]


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        try:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def locked(name: str) -> dict[str, Version]:
    """The versions in a lock file, which must all have hashes and come from no place in particular."""
    versions: dict[str, Version] = {}
    for entry in re.split(r"\n(?=[a-z0-9])", (ROOT / "requirements" / name).read_text()):
        lines = [line for line in entry.splitlines() if line and not line.lstrip().startswith("#")]
        if not lines:
            continue
        requirement = Requirement(lines[0].rstrip(" \\"))
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), f"{requirement.name} has no hash"
        (pin,) = requirement.specifier
        assert pin.operator == "==", requirement
        versions[canonicalize_name(requirement.name)] = Version(pin.version)
    return versions


def test_imports_follow_the_arrows() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_every_third_party_import_is_a_declared_dependency() -> None:
    declared = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]}
    providers = packages_distributions()
    missing = set()
    for path in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        for name in imported(ast.parse(path.read_text())):
            if name not in STANDARD and name not in PACKAGES:
                from_names = map(canonicalize_name, providers.get(name, [name]))
                names = {PARTS.get(provider, provider) for provider in from_names}
                missing |= set() if names & declared else {f"{path.relative_to(ROOT)}: {name}"}
    assert not missing


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_the_locks_hold_what_the_project_asks_for() -> None:
    run, dev = locked("run.lock"), locked("dev.lock")
    for lock, wanted in (
        (run, PROJECT["project"]["dependencies"]),
        (dev, PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]),
    ):
        for requirement in map(Requirement, wanted):
            name = canonicalize_name(requirement.name)
            assert name in lock, f"{name} is in no lock; run scripts/lock"
            assert requirement.specifier.contains(lock[name], prereleases=True), (
                f"{requirement}: run scripts/lock"
            )
    assert run.items() <= dev.items(), "a server would run other versions than the tests; run scripts/lock"


def test_the_locks_name_no_place_to_download_from() -> None:
    for path in (ROOT / "requirements").iterdir():
        assert not re.search(r"://|index-url|find-links|trusted-host", path.read_text()), path.name


def test_no_file_mentions_where_it_was_written() -> None:
    places = [str(ROOT), *([str(Path.home())] if len(Path.home().parts) > 2 else [])]
    mentions = [f"{path}: {place}" for path, text in texts() for place in places if place in text]
    assert not mentions


def test_no_private_key_is_tracked() -> None:
    key = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=]{20,}")
    assert not [path for path, text in texts() if key.search(text)]
    stores = {".db", ".pem", ".key", ".sqlite"}
    assert not [path for path in tracked() if path.suffix in stores or ".demo" in path.parts]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = document.parent / path if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def anchors(document: Path) -> set[str]:
    """The anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_exist(document: Path) -> None:
    code = "\n".join(re.findall(r"^(?:    |\t).+$|```[^`]*```|`[^`\n]+`", document.read_text(), re.MULTILINE))
    scripts = set(re.findall(r"\bscripts/([a-z]+)", code)) - {path.name for path in SCRIPTS}
    assert not scripts, "no such script"
    named = set(re.findall(r"(?:^|[`$#;|&]) *(?:sudo )?bastion ([a-z]+)\b", code, re.MULTILINE))
    assert not named - set(COMMANDS), "no such command"


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / ".ci/run"], ids=lambda path: path.name)
def test_scripts_can_be_run_and_parse(script: Path) -> None:
    assert script.stat().st_mode & 0o111 == 0o111
    shell = re.match(r"#!/(?:bin/|usr/bin/env )(sh|bash)\n", script.read_text())
    assert shell, "the first line names sh or bash"
    subprocess.run([shell[1], "-n", str(script)], check=True)


def test_make_offers_only_what_the_scripts_do() -> None:
    recipes = re.findall(r"^\t(\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipes
    for recipe in recipes:
        assert recipe == "rm" or (ROOT / recipe).is_file(), recipe
