"""`bastion verify`: prove that recordings were not changed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from cli.identity import identities_in, identity_option
from cli.output import clean, is_coloured, json_option, print_json
from cli.progress import progress_bar
from cli.sessions import open_index
from cli.settings import Settings, pass_settings
from recorder.at_rest import Identity
from recorder.catalog import recordings
from recorder.errors import FormatError, RecorderKeyError
from recorder.folder import files_of, recording_file
from recorder.inspection import Finding, inspect, inspect_kept
from recorder.keys import VerifyKey, published_keys
from recorder.names import SessionId, id_in
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
@identity_option
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

    Of an encrypted recording it verifies that the encrypted file is the one that the bastion wrote; with an identity
    that it is for also each line in it.
    """
    if bool(named) == is_all:
        raise click.UsageError("Name recordings by id or file, or say --all.")
    keys = _keys(settings, key_files)
    identities = identities_in(identity_files)
    if is_all:
        folder = settings.config.recordings_folder
        missing = asyncio.run(_missing(folder))
        findings = _verify_all(folder, keys, identities, shows_progress=not as_json)
        # Read last: what was sealed meanwhile has its entry.
        findings = hold_against(read_chain(folder, keys), folder, findings)
        named_missing = {finding.name for finding in findings}
        findings = [*(one for one in missing if one.name not in named_missing), *findings]
    else:
        findings = _verify(
            asyncio.run(_paths(settings, named)),
            lambda path, progress: inspect(path, keys, identities, progress),
            shows_progress=not as_json,
        )
    if as_json:
        print_json([_as_data(finding) for finding in findings])
    else:
        _print(findings, only_bad=is_all)
    return 0 if all(finding.is_good for finding in findings) else 1


def _keys(settings: Settings, files: Sequence[Path]) -> list[VerifyKey]:
    return [VerifyKey.load(file) for file in files] or published_keys(settings.config.recorder_key_file)


async def _paths(settings: Settings, named: Sequence[str]) -> list[Path]:
    """The files that are named."""
    if all(_is_file(text) for text in named):
        return [Path(text) for text in named]
    index = await open_index(settings.config.recordings_folder)
    try:
        return [Path(text) if _is_file(text) else (await index.find(text)).path for text in named]
    finally:
        await index.close()


async def _missing(folder: Path) -> list[Finding]:
    """What the index knows of *folder*, and is not there any more."""
    index = await open_index(folder)
    try:
        rows = await index.list()
    finally:
        await index.close()
    reason = "the index has it, the folder not"
    return [
        Finding(name=row.id, path=row.path, is_good=False, state="missing", reason=reason)
        for row in rows
        if not files_of(folder, row.id)
    ]


def _is_file(text: str) -> bool:
    return "/" in text or bool(Path(text).suffix)


def _verify_all(
    folder: Path, keys: Sequence[VerifyKey], identities: Sequence[Identity], *, shows_progress: bool
) -> list[Finding]:
    """Verify what is in *folder*. One that cannot be looked at keeps no other from it."""
    return _verify(
        list(recordings(folder)),
        lambda path, progress: _inspect(folder, path, keys, identities, progress),
        shows_progress=shows_progress,
    )


def _verify(
    paths: Sequence[Path],
    verify: Callable[[Path, Callable[[int], None]], Finding | None],
    *,
    shows_progress: bool,
) -> list[Finding]:
    """What *verify* finds of *paths*; it tells how many bytes of each it has read."""
    sizes = [path.stat().st_size if path.exists() else 0 for path in paths]
    findings, before = [], 0
    with progress_bar("Verifying", sum(sizes), is_quiet=not shows_progress) as tell:

        def progress(done: int) -> None:
            tell(before + done, None)

        for path, size in zip(paths, sizes, strict=True):
            findings.append(verify(path, progress))
            before += size
            progress(0)
    return [finding for finding in findings if finding is not None]


def _inspect(
    folder: Path,
    path: Path,
    keys: Sequence[VerifyKey],
    identities: Sequence[Identity],
    progress: Callable[[int], None],
) -> Finding | None:
    """A finding on the recording at *path*, or where it stands by now; None when it has been removed meanwhile."""
    try:
        return inspect_kept(path, keys, identities, progress)
    except RecorderKeyError:
        reason = "it is encrypted, and has no label by which it could be verified without an identity that it is for"
        return Finding(name=id_in(path), path=path, is_good=False, state="no label", reason=reason)
    except FormatError:
        if path.exists():
            raise
        now = recording_file(folder, SessionId(id_in(path)))
        return inspect_kept(now, keys, identities, progress) if now.exists() else None


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
        outside = sum(finding.state == "encrypted" for finding in findings)
        more = f"; encrypted, and verified from outside: {outside:,} (--identity)" if outside else ""
        more += f"; {removed:,} more were removed on purpose (bastion sessions --removed)" if removed else ""
        click.echo(f"{total:,} recordings: {total - bad:,} unchanged, {bad:,} not{more}")
