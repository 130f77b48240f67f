"""`bastion export`: a recorded session in another form, to hand on.

An export by id is an audit event that names who took it, in which form, and is refused when it cannot be written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from cli.identity import identities_in, identity_option
from cli.output import clean
from cli.play import find
from cli.progress import progress_bar
from cli.settings import Settings, pass_settings
from cli.state import operator, with_state
from recorder.at_rest import Identity
from recorder.errors import FormatError, RecorderError
from recorder.export import Progress, write_text, write_v2, write_v3
from recorder.export_bundle import write_bundle
from recorder.export_events import write_json, write_raw
from recorder.export_page import write_page
from recorder.keys import VerifyKey, published_keys
from recorder.reader import open_recording
from recorder.redaction import PATTERNS, Pattern, with_own

_WRITERS = {"v2": write_v2, "v3": write_v3, "text": write_text, "json": write_json, "html": write_page}
_FORMATS = (*_WRITERS, "raw", "bundle")
_ENDINGS = {"html": ".html", "raw": "", "bundle": ".zip"}
"""Of the formats that go to a file of the session's name unless told otherwise."""

_BIG = 8 * 1024 * 1024


@click.command()
@click.argument("recording", metavar="ID|FILE")
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    default="v2",
    show_default=True,
    help="v2, v3: asciicast. text: a transcript. json: each event, exactly. html: a page with a player. raw: a folder"
    " with the exact bytes of each stream. bundle: a zip with all that is needed to verify.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Where to, which must not exist; - is stdout. By default stdout, and ID.html, ID/ and ID.zip.",
)
@click.option(
    "--redact", is_flag=True, help="Put [redacted: kind] in place of keys, tokens and card numbers."
)
@click.option(
    "--key",
    "key_files",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="Public key of the recorder for the bundle. By default those of the configured bastion.",
)
@identity_option
@pass_settings
def export(
    settings: Settings,
    recording: str,
    form: str,
    output: Path | None,
    redact: bool,
    key_files: tuple[Path, ...],
    identity_files: tuple[Path, ...],
) -> None:
    """Write the session ID, or a recording FILE, in another form.

    The recording itself is not changed. Only v2 without --redact and the bundle can be verified afterwards. What is
    written is not encrypted, also where the recording is.
    """
    if form == "bundle" and redact:
        raise click.UsageError("Evidence is the recording as it is; what is redacted cannot be verified.")
    path = Path(recording)
    is_file = "/" in recording or bool(path.suffix)
    if not is_file:
        path = find(settings, recording).path
    identities = identities_in(identity_files)
    with open_recording(path, identities) as reader:
        name = reader.id
    place = output or (Path(f"{name}{_ENDINGS[form]}") if form in _ENDINGS else Path("-"))
    if place == Path("-") and form == "raw":
        raise click.UsageError("raw makes a folder; name it with --output.")
    if place == Path("-") and form != "text" and sys.stdout.isatty():
        raise click.UsageError(f"{form} is not for a terminal; name a file with --output, or use a pipe.")
    secrets = _secrets(settings, is_file) if redact else ()
    keys = _keys(settings, key_files) if form == "bundle" else []
    if not is_file:
        _note(settings, recording, form, redact)
    with _progress(path) as progress:
        _write(path, place, form, secrets, keys, progress, identities)
    if place != Path("-"):
        click.echo(f"Written to {clean(str(place))}", err=True)


def _write(
    path: Path,
    place: Path,
    form: str,
    secrets: Sequence[Pattern],
    keys: list[VerifyKey],
    progress: Progress,
    identities: Sequence[Identity],
) -> None:
    if form == "raw":
        try:
            write_raw(path, place, secrets=secrets, progress=progress, identities=identities)
        except OSError as error:
            raise _not_written(place, error) from error
        return
    with _opened(place) as out:
        if form == "bundle":
            write_bundle(path, out, keys=keys, progress=progress, identities=identities)
        else:
            _WRITERS[form](path, out, secrets=secrets, progress=progress, identities=identities)


def _secrets(settings: Settings, is_file: bool) -> Sequence[Pattern]:
    """What counts as secret: for a file from elsewhere the usual kinds, else also those of the configured bastion."""
    return PATTERNS if is_file else with_own(settings.config.recording.secrets)


def _keys(settings: Settings, files: tuple[Path, ...]) -> list[VerifyKey]:
    if files:
        return [VerifyKey.load(file) for file in files]
    return published_keys(settings.config.recorder_key_file)


def _note(settings: Settings, text: str, form: str, redact: bool) -> None:
    """Write down who takes which session."""
    row = find(settings, text)
    with_state(
        settings,
        lambda state: state.audit.record(
            "recording.exported",
            user=operator(),
            session=row.id,
            of=row.user,
            target=row.target,
            format=form,
            redacted=redact,
            by="command line",
            uid=os.getuid(),
        ),
    )


@contextmanager
def _opened(place: Path) -> Iterator[BinaryIO]:
    """A new file at *place* that only its owner can read, or stdout; a file that is not finished is taken away."""
    if place == Path("-"):
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_written(place, error) from error
    try:
        with os.fdopen(descriptor, "wb") as out:
            yield out
    except OSError as error:
        place.unlink()
        raise _not_written(place, error) from error
    except BaseException:
        place.unlink()
        raise


def _not_written(place: Path, error: OSError) -> RecorderError:
    hint = "Name another place with --output." if isinstance(error, FileExistsError) else ""
    return RecorderError(f"{place} cannot be written: {error.strerror}", hint=hint)


@contextmanager
def _progress(path: Path) -> Iterator[Progress]:
    """A bar on the terminal for a recording that takes a while."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    with progress_bar("Exporting", size, is_quiet=size < _BIG) as tell:
        yield lambda read: tell(read, None)
