"""`search` over SSH: where a text was shown or typed, in everybody's own sessions and, for auditors, in more.

Each search is an audit event that says who looked for what, written before anything is told.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from bastion.runtime.moments import parse_moment
from bastion.ssh.call import Call, UsageError
from bastion.ssh.replay import may_see
from bastion.ssh.search_results import json_line, results_text
from recorder.catalog import SessionRow
from recorder.index import Filter
from recorder.search import Query, unsearchable, unsearchable_text
from recorder.search import search as search_recordings

USUAL_LIMIT = 20
_USAGE = (
    "search TEXT [--user U] [--group G] [--target T] [--kind K] [--ending E] [--exit-status N]"
    " [--since 7d] [--until 1d] [--input | --sql | --request | --connection] [--limit N] [--hits N] [--json]"
)


async def search(call: Call) -> int:
    """Tell the sessions the person may see that hold a text, and where; 1 if there are none."""
    asked = _parser(call.front.now()).parse_args(call.arguments)
    text = " ".join(asked.text)
    query = Query(
        text=text,
        part=asked.part,
        most_hits=asked.hits,
        narrow=Filter(
            user=asked.user,
            group=asked.group,
            target=asked.target,
            kind=asked.kind,
            ending=asked.ending,
            exit_status=asked.exit_status,
            since=asked.since,
            until=asked.until,
            limit=asked.limit,
        ),
    )
    narrowed = {name: value for name, value in vars(asked).items() if value is not None and name != "text"}
    await call.front.state.audit.record(
        "recording.searched",
        user=call.person.user,
        client=str(call.client),
        text=text,
        narrowed=narrowed,
        by="ssh",
    )
    terminal = call.terminal
    width = terminal.columns if terminal.is_tty else 1000
    play = f"ssh -t {call.front.config().server.public_name} play"
    count = 0
    index = call.front.store.index

    def accept(row: SessionRow) -> bool:
        return may_see(call, row)

    async for found in search_recordings(index, query, accept):
        count += 1
        shown = results_text(found, play=play, width=width, colour=terminal.is_tty)
        await terminal.say(json_line(found) if asked.json else shown)
    if not count and not asked.json:
        await terminal.say("Nothing was found in the sessions you may see.\n", error=True)
    if closed := await unsearchable(index, query.narrow, accept):
        await terminal.say(unsearchable_text(closed), error=True)
    return 0 if count else 1


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"usage: {_USAGE}")


def _parser(now: float) -> _Parser:
    def moment(text: str) -> float:
        try:
            return parse_moment(text, now)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    parser = _Parser(prog="search", add_help=False, allow_abbrev=False)
    parser.add_argument("text", nargs="+")
    for name in ("user", "group", "target", "kind", "ending"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--exit-status", type=int)
    parser.add_argument("--since", type=moment)
    parser.add_argument("--until", type=moment)
    parts = parser.add_mutually_exclusive_group()
    for part in ("input", "sql", "request", "connection"):
        parts.add_argument(f"--{part}", dest="part", action="store_const", const=part)
    parser.add_argument("--limit", type=_positive, default=USUAL_LIMIT)
    parser.add_argument("--hits", type=_positive, default=Query(text="").most_hits)
    parser.add_argument("--json", action="store_true")
    return parser


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100000")
    return number
