"""`bastion verify`: prove that recordings were not changed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from cli.output import clean, is_coloured, json_option, print_json
from cli.sessions import open_index
from cli.settings import Settings, pass_settings
from recorder.at_rest import Identity, read_identities
from recorder.catalog import recordings
from recorder.inspection import Finding, inspect
from recorder.keys import VerifyKey, published_keys
from recorder.seals_check import hold_against, read_chain


@click.command()
@click.argument("named", metavar="[ID|FILE]...", nargs=-1)
@click.option(
    "--key",
    "key_files",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="Public key of the recorder; several may be given. By default those of the configured bastion.",
)
@click.option(
    "--identity",
    "identity_files",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    envvar="BASTION_AGE_IDENTITY",
    help="age identity or private SSH key, for files that were encrypted with age (.age).",
)
@click.option("--all", "is_all", is_flag=True, help="All recordings of the configured bastion.")
@json_option
@pass_settings
def verify(
    settings: Settings,
    named: tuple[str, ...],
    key_files: tuple[Path, ...],
    identity_files: tuple[Path, ...],
    is_all: bool,
    as_json: bool,
) -> int:
    """Prove that recordings were not changed since they were written.

    Needs the recording and the recorder's public key, and nothing else: neither server nor database. Exits with 0 if
    all are unchanged, with 1 if not. A session that still runs is good as far as it is signed. With --all the chain of
    seals (seals.log) is verified too, and whether a recording is missing that it names.
    """
    if bool(named) == is_all:
        raise click.UsageError("Name recordings by id or file, or say --all.")
    keys = _keys(settings, key_files)
    paths, missing = asyncio.run(_paths(settings, named, is_all))
    identities = [identity for file in identity_files for identity in read_identities(file)]
    findings = _verify(paths, keys, identities, shows_progress=is_all and not as_json)
    if is_all:
        folder = settings.config.recordings_folder
        # Read last: what was sealed meanwhile has its entry.
        findings = hold_against(read_chain(folder, keys), folder, findings)
        named_missing = {finding.name for finding in findings}
        findings = [*(one for one in missing if one.name not in named_missing), *findings]
    if as_json:
        print_json([_as_data(finding) for finding in findings])
    else:
        _print(findings, only_bad=is_all)
    return 0 if all(finding.is_good for finding in findings) else 1


def _keys(settings: Settings, files: Sequence[Path]) -> list[VerifyKey]:
    return [VerifyKey.load(file) for file in files] or published_keys(settings.config.recorder_key_file)


async def _paths(settings: Settings, named: Sequence[str], is_all: bool) -> tuple[list[Path], list[Finding]]:
    """The files to verify, and what the index knows of that is not there any more."""
    if not is_all and all(_is_file(text) for text in named):
        return [Path(text) for text in named], []
    folder = settings.config.recordings_folder
    index = await open_index(folder)
    try:
        if not is_all:
            return [Path(text) if _is_file(text) else (await index.find(text)).path for text in named], []
        missing = [
            Finding(
                name=row.id,
                path=row.path,
                is_good=False,
                state="missing",
                reason="the index has it, the folder not",
            )
            for row in await index.list()
            if not row.path.exists()
        ]
    finally:
        await index.close()
    return list(recordings(folder)), missing


def _is_file(text: str) -> bool:
    return "/" in text or bool(Path(text).suffix)


def _verify(
    paths: Sequence[Path], keys: Sequence[VerifyKey], identities: Sequence[Identity], *, shows_progress: bool
) -> list[Finding]:
    if not (shows_progress and sys.stderr.isatty()):
        return [inspect(path, keys, identities) for path in paths]
    return [inspect(path, keys, identities) for path in _with_progress(paths)]


def _with_progress(paths: Sequence[Path]) -> Iterator[Path]:
    from rich.console import Console
    from rich.progress import track

    yield from track(paths, description="Verifying", console=Console(stderr=True), transient=True)


def _as_data(finding: Finding) -> dict[str, object]:
    verdict = finding.verdict
    return {
        "recording": finding.path,
        "id": verdict.id if verdict else finding.name,
        "good": finding.is_good,
        "state": finding.state,
        "reason": finding.reason,
        "key": verdict.key_id if verdict else None,
        "lines": verdict.lines if verdict else None,
        "signed_lines": verdict.signed_lines if verdict else None,
        "first_changed_line": verdict.first if verdict else None,
        "last_changed_line": verdict.last if verdict else None,
    }


def _print(findings: Sequence[Finding], *, only_bad: bool) -> None:
    colour = is_coloured(sys.stdout)
    for finding in findings:
        if only_bad and finding.is_good:
            continue
        state = finding.state.upper() if not finding.is_good else finding.state
        shown = click.style(state, fg="green" if finding.is_good else "red") if colour else state
        click.echo(f"{clean(finding.name)}  {shown}: {clean(finding.reason)}", color=True)
    if only_bad or len(findings) > 1:
        removed = sum(finding.state == "removed" for finding in findings)
        bad = sum(not finding.is_good for finding in findings)
        total = len(findings) - removed
        more = f"; {removed:,} more were removed on purpose (bastion sessions --removed)" if removed else ""
        click.echo(f"{total:,} recordings: {total - bad:,} unchanged, {bad:,} not{more}")
