"""`sessions`, `play`, `follow`, `verify` and `fetch` over SSH.

For everybody their own sessions, for auditors those the policy gives them.

Each replay is an audit event that names who looked, written before anything is shown.
"""

from __future__ import annotations

from pathlib import Path

from bastion.runtime.moments import parse_seconds
from bastion.sessions.admission import subject_of
from bastion.ssh.call import Call, UsageError
from bastion.ssh.session_table import json_lines, table
from policy.decide import may_audit
from policy.match import is_for
from recorder.catalog import SessionRow
from recorder.disk import reading
from recorder.errors import NoSuchSession, RecorderKeyError
from recorder.follow import follow as follow_recording
from recorder.follow import followed_text
from recorder.index import Filter
from recorder.inspection import inspect_kept
from recorder.keys import published_keys
from recorder.label import recipients_of
from recorder.names import is_encrypted
from recorder.playback import shown_text
from recorder.player import Player
from recorder.screen_filter import ScreenFilter

USUAL_LIMIT = 50
_PIECE = 256 * 1024


async def sessions(call: Call) -> int:
    """List the sessions the person may see, the newest first."""
    as_json = "--json" in call.arguments
    if any(argument != "--json" for argument in call.arguments):
        raise UsageError("usage: sessions [--json]")
    is_auditor = any(is_for(rule, subject_of(call.person)) for rule in call.front.config().policy.auditors)
    narrow = Filter() if is_auditor else Filter(user=call.person.user)
    mine = [row for row in await call.front.store.index.list(narrow) if may_see(call, row)]
    if as_json:
        await call.terminal.say(json_lines(mine))
        return 0
    shown = mine[:USUAL_LIMIT]
    width = call.terminal.columns if call.terminal.is_tty else 1000
    text = table(shown, width=width, now=call.front.now(), colour=call.terminal.is_tty) if shown else ""
    await call.terminal.say(text or "There is no session you may see.\n")
    if len(mine) > len(shown):
        await call.terminal.say(f"The newest {len(shown)} of {len(mine)}; --json lists all.\n", error=True)
    return 0


async def play(call: Call) -> int:
    """Replay one session, at its own pace on a terminal, all at once without one."""
    text, start = _played(call.arguments)
    row = await _open(call, text, "recording.played")
    if call.terminal.is_tty:
        folder = call.front.store.folder
        await Player(row.path, call.terminal, start=start, folder=folder, is_gentle=True).run()
    else:
        await _print(call, row.path)
    return 0


def _played(arguments: tuple[str, ...]) -> tuple[str, float]:
    """The id, and the time to begin at."""
    match arguments:
        case (text,):
            return text, 0.0
        case (text, "--at", time) | ("--at", time, text):
            try:
                return text, parse_seconds(time)
            except ValueError as error:
                raise UsageError(str(error)) from error
    hint = "sessions lists the ids; their last characters are enough."
    raise UsageError("usage: play ID [--at TIME]", hint=hint)


async def follow(call: Call) -> int:
    """Show a session as it runs."""
    if len(call.arguments) != 1:
        raise UsageError("usage: follow ID", hint="sessions lists the ids; those that run are live.")
    row = await _open(call, call.arguments[0], "recording.followed")
    if call.terminal.is_tty:
        await follow_recording(row.path, call.terminal)
    else:
        async for text in followed_text(row.path, ScreenFilter()):
            await call.terminal.say(text)
    return 0


async def verify(call: Call) -> int:
    """Say whether recordings are as they were written."""
    if not call.arguments:
        raise UsageError("usage: verify ID…", hint="sessions lists the ids.")
    keys = published_keys(call.front.config().recorder_key_file)
    is_good = True
    for text in call.arguments:
        row = await _find(call, text)
        finding = await reading(inspect_kept, row.path, keys)
        is_good = is_good and finding.is_good
        await call.terminal.say(f"{row.id}  {finding.state}: {finding.reason}\n")
    return 0 if is_good else 1


async def fetch(call: Call) -> int:
    """Hand out the encrypted file of a session as it is: who has a key to it reads it elsewhere."""
    if len(call.arguments) != 1:
        raise UsageError("usage: fetch ID", hint="sessions lists the ids.")
    row = await _find(call, call.arguments[0])
    if not is_encrypted(row.path):
        raise UsageError(f"The recording {row.id} is not encrypted.", hint="play shows it.")
    if call.terminal.is_tty:
        raise UsageError(
            "A file is nothing for a terminal.", hint=f"Leave -t out: fetch {row.id} > {row.path.name}"
        )
    await _note(call, row, "recording.fetched")
    with await reading(row.path.open, "rb", buffering=0) as file:
        while piece := await reading(file.read, _PIECE):
            await call.terminal.write(piece)
    return 0


async def _print(call: Call, path: Path) -> None:
    texts = shown_text(path, restores=False)
    while (text := await reading(next, texts, None)) is not None:
        await call.terminal.say(text)


async def _open(call: Call, text: str, event: str) -> SessionRow:
    """The session *text* names, once the audit *event* that says who looks at it is written.

    RecorderKeyError, which says how to open it, when it is encrypted: the bastion has no key to it.
    """
    row = await _find(call, text)
    if is_encrypted(row.path):
        raise _is_closed(row, call.front.config().server.public_name)
    await _note(call, row, event)
    return row


async def _note(call: Call, row: SessionRow, event: str) -> None:
    await call.front.state.audit.record(
        event,
        user=call.person.user,
        session=row.id,
        client=str(call.client),
        of=row.user,
        target=row.target,
        by="ssh",
    )


def _is_closed(row: SessionRow, bastion: str) -> RecorderKeyError:
    name = row.path.name
    keys = "".join(f"\n  {key}" for key in recipients_of(row.path))
    return RecorderKeyError(
        f"The recording {row.id} is encrypted, and the bastion cannot read it.",
        hint=f"Whoever has the private half of one of these keys can:{keys}\n"
        f"on the bastion's machine:  bastion play {row.id} --identity FILE\n"
        f"anywhere:  ssh {bastion} fetch {row.id} > {name}; age -d -i FILE {name} | asciinema play -",
    )


async def _find(call: Call, text: str) -> SessionRow:
    """The session *text* names, if the person may see it; one they may not see is not there for them."""
    row = await call.front.store.index.find(text)
    if may_see(call, row):
        return row
    await call.front.state.audit.record(
        "recording.refused",
        user=call.person.user,
        session=row.id,
        client=str(call.client),
    )
    raise NoSuchSession(f"There is no session {text!r} that you may see.")


def may_see(call: Call, row: SessionRow) -> bool:
    """Whether the person who calls may see the session of *row*."""
    auditors = call.front.config().policy.auditors
    return may_audit(auditors, subject_of(call.person), owner=row.user, target=row.target).allowed
