"""What is recorded of a PostgreSQL connection: a conversation that people can read, and each statement as a fact.

Sans I/O: messages of both sides go in, in the order in which they pass, and events come out that must be on record
before the bytes go on. A statement is told of when it is asked for; its rows, up to a limit, as they come; and at its
end what became of it, with the digest of the rows that were not shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from bastion.connectors.postgres.contents import Copies, words_about
from bastion.connectors.postgres.framing import Message, ServerFraming
from bastion.connectors.postgres.keeping import Keeping
from bastion.connectors.postgres.messages import FAILED_TRANSACTION, IDLE, fields_of, text_at
from bastion.connectors.postgres.prepared import Field, Names, Portal, Prepared, cells, described
from bastion.connectors.postgres.secrets import without_passwords
from bastion.connectors.postgres.table import Table
from bastion.runtime.logs import printable
from recorder.events import Event, Happened, Output, Scalar

LONGEST_FACT = 64 * 1024
"""Characters of a statement that its fact has; the conversation has all of it."""


@dataclass(slots=True)
class _Asked:
    """What a client asked for and the server has not answered yet."""

    kind: str
    text: str = ""
    parameters: Sequence[str] = ()
    about: Prepared | Portal | None = None
    began: float = 0.0


@dataclass(slots=True)
class _Result:
    """The result that comes just now."""

    fields: Sequence[Field] = ()
    table: Table | None = None
    rows: list[list[str]] = field(default_factory=list)
    shown: int = 0
    size: int = 0


class Transcript:
    """Of one connection to *database*. With *is_drawn* false, statements are facts alone: a terminal shows the rest."""

    def __init__(
        self, *, database: str, login: str, keeping: Keeping, is_drawn: bool, monotonic: Callable[[], float]
    ) -> None:
        self._database = database
        self._login = login
        self._keeping = keeping
        self._is_drawn = is_drawn
        self._monotonic = monotonic
        self._names = Names()
        self._asked: deque[_Asked] = deque()
        self._result = _Result()
        self.copies = Copies(keeping.copied if is_drawn else 0)  # else a terminal shows them
        self._is_amid_line = False
        self._events: list[Event] = []
        self._drawn: list[str] = []
        self._since = 0.0
        self.status = IDLE
        self.server = ServerFraming(self._said)
        self.server.copied = self.copies.received
        self._expect()

    # What both sides say

    def client_says(self, messages: Sequence[Message]) -> list[Event]:
        """What to record before *messages* go on. Raises Malformed."""
        self._keep(self.copies.told_given_up())
        for kind, body, size in messages:
            self._ask(chr(kind), body, size)
        self._keep(self.copies.told_sent())
        return self._take()

    def server_says(self, data: bytes) -> list[Event]:
        """What to record before *data* goes on. Raises Malformed."""
        self.server.feed(data)
        self._draw_rows()
        self._keep(self.copies.told_received())
        return self._take()

    def refused(self, what: str) -> list[Event]:
        """What to record of a message that is not passed on."""
        self._draw(f"{self._prompt}({what})\nERROR:  the bastion does not pass this on\n")
        self._add(Happened("sql", f"({what})", {**self._facts, "error": "refused by the bastion"}))
        return self._take()

    def end(self) -> list[Event]:
        """What to record of statements that got no answer."""
        for asked in self._asked:
            if asked.text:
                self._tell(asked, {"error": "no answer", **self._end_of_copy()})
        self._asked.clear()
        return self._take()

    @property
    def owes_answers(self) -> bool:
        """Whether the server has still to answer something."""
        return bool(self._asked)

    @property
    def awaits_end(self) -> bool:
        """Whether the server will say at some time that it is ready: the client has asked it to."""
        return any(asked.kind in ("simple", "sync") for asked in self._asked)

    @property
    def running_for(self) -> float | None:
        """Seconds that the server has been at the statement it is at; None while it is at none."""
        is_running = any(asked.text for asked in self._asked)
        return self._monotonic() - self._since if is_running else None

    @property
    def left_alone_for(self) -> float | None:
        """Seconds that a transaction has been open with nothing asked of it; None where that is not so."""
        return None if self._asked or self.status == IDLE else self._monotonic() - self._since

    # The client

    def _ask(self, kind: str, body: bytes, size: int) -> None:
        match kind:
            case "Q":
                self._begin(_Asked("simple", text_at(body)[0]))
            case "P":
                self._names.parse(body)
            case "B":
                self._names.bind(body, size)
            case "D":
                self._asked.append(_Asked("describe", about=self._names.of(body)))
            case "E":
                portal = self._names.portals.get(text_at(body)[0]) or Portal(Prepared("(an unknown portal)"))
                self._begin(_Asked("execute", portal.statement.text, portal.parameters, portal))
            case "C":
                self._names.close(body)
            case "S":
                self._asked.append(_Asked("sync"))
            case "c" | "f":
                self._keep(self.copies.end_sent(size))

    def _begin(self, asked: _Asked) -> None:
        asked.began = self._monotonic()
        if not any(before.text for before in self._asked):
            self._since = asked.began
            self.copies.forget()
        asked.text = without_passwords(asked.text)
        self._asked.append(asked)
        self._expect()
        if self._is_drawn:
            given = "".join(f"  ${n} = {value}\n" for n, value in enumerate(asked.parameters, start=1))
            self._draw(f"{self._prompt}{_lines(asked.text)}\n{given}")
        else:
            for start in range(0, len(asked.text) or 1, LONGEST_FACT):
                part = asked.text[start : start + LONGEST_FACT]
                self._add(Happened("statement", part, {**self._facts, **_numbered(asked.parameters)}))

    # The server

    def _said(self, kind: int, body: bytes) -> None:
        handle = self._HANDLERS.get(chr(kind))
        if handle is not None:
            handle(self, body)

    def _row_description(self, body: bytes) -> None:
        fields = described(body)
        front = self._asked[0] if self._asked else None
        if front is not None and front.kind == "describe":
            self._asked.popleft()
            if front.about is not None:
                front.about.fields = fields
            self._expect()
        else:
            self._show(fields)

    def _parameter_types(self, body: bytes) -> None:
        front = self._asked[0] if self._asked else None
        if front is not None and isinstance(front.about, Prepared):
            count = int.from_bytes(body[:2])
            front.about.oids = [int.from_bytes(body[2 + 4 * n : 6 + 4 * n]) for n in range(count)]

    def _no_data(self, body: bytes) -> None:
        if self._asked and self._asked[0].kind == "describe":
            self._asked.popleft()
            self._expect()

    def _row(self, body: bytes) -> None:
        result, front = self._result, self._asked[0] if self._asked else None
        if result.table is None:
            self._show(front.about.result if front is not None and isinstance(front.about, Portal) else ())
        result.rows.append(cells(body, result.fields))
        for spent in (result, front.about if front is not None else None):
            if isinstance(spent, _Result | Portal):
                spent.shown += 1
                spent.size += len(body)
        self._expect()

    def _expect(self) -> None:
        """Look at rows of what the server answers next, or count them: of each result the first are shown."""
        front = self._asked[0] if self._asked else None
        portal = front.about if front is not None and isinstance(front.about, Portal) else None
        spent = portal or self._result
        has_room = spent.shown < self._keeping.rows and spent.size < self._keeping.size
        self.server.wants_rows = self._is_drawn and has_room

    def _show(self, fields: Sequence[Field]) -> None:
        if self._is_drawn:
            self._result.fields = fields
            self._result.table = Table([column.name for column in fields])

    def _complete(self, body: bytes) -> None:
        self._finish(text_at(body)[0])

    def _empty(self, body: bytes) -> None:
        self._finish("(no statement)")

    def _suspended(self, body: bytes) -> None:
        self._finish("(more rows follow)")

    def _finish(self, tag: str) -> None:
        front = self._asked[0] if self._asked else None
        if front is None or front.kind not in ("simple", "execute"):
            return
        rows = self._result.shown + self.server.rows.count
        facts: dict[str, Scalar] = {"tag": tag, "rows": rows, **self._end_of_copy()}
        seconds = self._monotonic() - front.began
        words = self._close_result()
        self._draw(f"{words}{printable(tag)}{words_about(facts)}  ({seconds * 1000:.1f} ms)\n")
        self._tell(front, facts)
        if front.kind == "execute":
            self._asked.popleft()
        self._expect()

    def _error(self, body: bytes) -> None:
        said = fields_of(body)
        severity, code, text = said.get("S", "ERROR"), said.get("C", ""), said.get("M", "")
        words = self._close_result()
        self._draw(f"{words}{printable(severity)}:  {printable(text)} ({printable(code)})\n")
        failed = next((asked for asked in self._asked if asked.text), None)
        if failed is not None:
            self._tell(failed, {"error": text, "sqlstate": code, **self._end_of_copy()})
        # After an error the server passes over what was asked for, up to where it was told to begin anew.
        while self._asked and self._asked[0].kind not in ("simple", "sync"):
            self._asked.popleft()
        self._expect()

    def _ready(self, body: bytes) -> None:
        self.status = body[0] if body else IDLE
        while self._asked and self._asked.popleft().kind not in ("simple", "sync"):
            pass
        self.copies.finish()
        self._expect()

    def _notice(self, body: bytes) -> None:
        said = fields_of(body)
        self._draw(f"{printable(said.get('S', 'NOTICE'))}:  {printable(said.get('M', ''))}\n")

    def _notification(self, body: bytes) -> None:
        channel, at = text_at(body, 4)
        payload, _ = text_at(body, at)
        self._draw(f"NOTIFY {printable(channel)}: {printable(payload)}\n")

    def _copy_in_begins(self, body: bytes) -> None:
        self.copies.begin("in", body)

    def _copy_out_begins(self, body: bytes) -> None:
        self.copies.begin("out", body)

    _HANDLERS: ClassVar[dict[str, Callable[[Transcript, bytes], None]]] = {
        "T": _row_description, "t": _parameter_types, "n": _no_data, "D": _row, "C": _complete, "I": _empty,
        "s": _suspended, "E": _error, "Z": _ready, "N": _notice, "A": _notification,
        "G": _copy_in_begins, "H": _copy_out_begins,
    }  # fmt: skip

    # What comes of it

    def _end_of_copy(self) -> dict[str, Scalar]:
        self._keep(self.copies.told_received())
        return self.copies.finish()

    def _keep(self, contents: Sequence[Event]) -> None:
        """Show *contents*, which may end amid a line."""
        if not contents:
            return
        self._add(*contents)
        shown = next((event for event in reversed(contents) if isinstance(event, Output)), None)
        if shown is not None:
            self._is_amid_line = not shown.data.endswith(b"\n")

    def _close_result(self) -> str:
        """Words about the rows that were not shown; the next result begins."""
        self._draw_rows()
        hidden, shown = self.server.rows, self._result.shown
        words = ""
        if self._is_drawn and hidden.count:
            words = f"({hidden.count:,} more rows, {hidden.size:,} bytes, SHA-256 {hidden.sha256})\n"
        if self._result.table is not None and not shown and not hidden.count:
            self._draw(self._result.table.draw([]))
        self.server.rows.reset()
        self._result = _Result()
        return words

    def _draw_rows(self) -> None:
        if self._result.rows and self._result.table is not None:
            self._draw(self._result.table.draw(self._result.rows))
            self._result.rows.clear()

    def _tell(self, asked: _Asked, facts: dict[str, Scalar]) -> None:
        text, self._since = asked.text, self._monotonic()
        more: dict[str, Scalar] = {"seconds": round(self._since - asked.began, 6)}
        if len(text) > LONGEST_FACT:
            more["characters"] = len(text)
        told = {**self._facts, **_numbered(asked.parameters), **facts, **more}
        self._add(Happened("sql", text[:LONGEST_FACT], told))

    @property
    def _facts(self) -> dict[str, Scalar]:
        return {"database": self._database, "login": self._login}

    @property
    def _prompt(self) -> str:
        sign = {IDLE: "=", FAILED_TRANSACTION: "!"}.get(self.status, "*")
        return f"{printable(self._database)}{sign}> "

    def _draw(self, text: str) -> None:
        if not self._is_drawn:
            return
        self._keep(self.copies.told_received())
        start, self._is_amid_line = "\n" if self._is_amid_line else "", False
        self._drawn.append(f"{start}{text}")

    def _add(self, *events: Event) -> None:
        """Add *events* behind what was drawn."""
        if self._drawn:
            self._events.append(Output("".join(self._drawn).encode()))
            self._drawn.clear()
        self._events += events

    def _take(self) -> list[Event]:
        self._add()
        events, self._events = self._events, []
        return events


def _numbered(parameters: Sequence[str]) -> dict[str, Scalar]:
    return {f"${number}": value for number, value in enumerate(parameters, start=1)}


def _lines(statement: str) -> str:
    """A statement as it was written, without control characters that a terminal would act on."""
    return "\n".join(printable(line.replace("\t", "    ")) for line in statement.splitlines())
