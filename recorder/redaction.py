"""Finds secrets in what a session showed or took in, and puts `[redacted: kind]` in their place.

Works on text: of a screen, or of bytes read as Latin-1, which gives each byte a character. Escape sequences inside a
secret (a colour in the middle of a key) do not hide it. Every pattern runs in linear time on any text: repetitions are
possessive or bounded, and none stands inside another that could share its work. Knows no files.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import Generic, TypeVar

from recorder.contents import BASE64, CONTENTS
from recorder.events import ErrorOutput, Event, Happened, Input, Output

T = TypeVar("T")

LONGEST_SECRET = 16 * 1024
"""Characters of text that a secret may be spread over, private keys included."""

CONTEXT = 4096
"""Bytes of a stream before a chunk that are looked at with it, when it is redacted before it is written."""

_NUMBERS = frozenset({"serial"})
"""Facts of a header that are digits of ours, and look like the number of a card now and then."""

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[ -/]{0,4}[0-Z\\^-~])"
)


def _always(_found: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Pattern:
    """A kind of secret. Where *expression* has a group, only that is the secret; *accepts* has the last word.

    A text without any of the *needles*, if there are some, has no such secret: that is found out much faster.
    """

    kind: str
    expression: re.Pattern[str]
    needles: tuple[str, ...] = ()
    accepts: Callable[[str], bool] = _always


def has_luhn_sum(text: str) -> bool:
    """Whether the digits in *text* have the check digit of card numbers (ISO/IEC 7812-1)."""
    digits = [int(char) for char in reversed(text) if char.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[1::2]]
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _pattern(kind: str, expression: str, *needles: str, accepts: Callable[[str], bool] = _always) -> Pattern:
    return Pattern(kind, re.compile(expression), needles, accepts)


_KEY_BODY = (
    r"(?:(?:[^-]|-(?!----)){0,16000}+-----END [A-Z0-9 ]{1,40}-----"  # whole
    r"|(?:\s{1,8}+(?:[A-Za-z-]{3,20}+: [^\r\n]{0,100}+|[A-Za-z0-9+/=]{16,16000}+))*+)"  # cut: lines of base64
)

PATTERNS = (
    _pattern(
        "private-key",
        r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----" + _KEY_BODY,
        "-----BEGIN ",
    ),
    _pattern(
        "private-key",
        r"PuTTY-User-Key-File-\d: [^\x00]{0,4000}?Private-MAC: [0-9a-f]{40,64}",
        "PuTTY-User-Key-File-",
    ),
    _pattern(
        "aws-key",
        r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        "AKIA",
        "ASIA",
        "ABIA",
        "ACCA",
    ),
    _pattern(
        "aws-secret",
        r"(?i:aws_?secret_?(?:access_?)?key)[\"']?\s{0,4}[=:]\s{0,4}[\"']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
    ),
    _pattern("gcp-key", r"(?<![A-Za-z0-9_-])AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])", "AIza"),
    _pattern("gcp-token", r"(?<![A-Za-z0-9_.-])ya29\.[A-Za-z0-9_-]{20,2000}+", "ya29."),
    _pattern(
        "azure-key",
        r"(?:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{43,86}+={1,2})",
        "AccountKey=",
        "AccessKey=",
    ),
    _pattern(
        "azure-secret",
        r"(?<![A-Za-z0-9_~.-])[A-Za-z0-9_~.-]{3}\dQ~[A-Za-z0-9_~.-]{31,34}(?![A-Za-z0-9_~-])",
        "Q~",
    ),
    _pattern("azure-signature", r"[?&]sig=([A-Za-z0-9%/+]{30,200}+)", "sig="),
    _pattern(
        "github-token",
        r"(?<![A-Za-z0-9_])(?:gh[pousr]_[A-Za-z0-9]{36,255}+|github_pat_[A-Za-z0-9_]{22,255}+)",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
    ),
    _pattern(
        "gitlab-token",
        r"(?<![A-Za-z0-9_-])gl(?:pat|ptt|dt|rt|cbt|ft|soat|imt|agent)-[A-Za-z0-9_.-]{20,300}+",
        "gl",
    ),
    _pattern("slack-token", r"(?<![A-Za-z0-9_-])x(?:ox[abeoprs]|app)-[A-Za-z0-9-]{10,300}+", "xox", "xapp-"),
    _pattern(
        "slack-webhook", r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_+-]{20,200}+)"
    ),
    _pattern(
        "stripe-key", r"(?<![A-Za-z0-9_])[rs]k_(?:live|test)_[A-Za-z0-9]{16,255}+", "k_live_", "k_test_"
    ),
    _pattern("npm-token", r"(?<![A-Za-z0-9_])npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])", "npm_"),
    _pattern("vault-token", r"(?<![A-Za-z0-9_.-])hv[sbr]\.[A-Za-z0-9_-]{24,400}+", "hvs.", "hvb.", "hvr."),
    _pattern(
        "jwt",
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,4000}+\.eyJ[A-Za-z0-9_-]{10,8000}+\.[A-Za-z0-9_-]{0,4000}+",
        "eyJ",
    ),
    _pattern(
        "bearer-token",
        r"(?<![A-Za-z])[Bb](?:earer|EARER) {1,3}([A-Za-z0-9._~+/-]{16,8000}+={0,2})",
        "earer ",
        "EARER ",
    ),
    _pattern("basic-authorization", r"(?i:authorization: {0,3}basic) {1,3}([A-Za-z0-9+/]{8,4000}+={0,2})"),
    _pattern(
        "url-password",
        r"(?<![A-Za-z0-9])[a-z][a-z0-9+.]{1,20}://[^\s/:@\x00-\x1f]{0,64}:([^\s/@\x00-\x1f]{1,128})@",
        "://",
    ),
    _pattern(
        "card-number",
        r"(?<![0-9A-Za-z.-])(?:[3-6][0-9]{12,18}"
        r"|[3-6][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}|3[47][0-9]{2}([ -])[0-9]{6}\2[0-9]{5})(?![0-9A-Za-z])",
        accepts=has_luhn_sum,
    ),
)
"""The usual kinds; docs/secrets.md has a table of them."""


def with_own(expressions: Mapping[str, str]) -> tuple[Pattern, ...]:
    """The usual kinds and those of *expressions*, by their kind. Whether these run in linear time nobody promises."""
    return (*PATTERNS, *(_pattern(kind, expression) for kind, expression in expressions.items()))


_WHOLE_MATCH = frozenset({"card-number"})  # its groups are separators


def mark(kind: str) -> str:
    """What stands in place of a secret."""
    return f"[redacted: {kind}]"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A secret from *start* to *end* in a text."""

    start: int
    end: int
    kind: str


def find_secrets(text: str, patterns: Sequence[Pattern] = PATTERNS) -> list[Span]:
    """The secrets in *text*, which has no escape sequences, in order; where two overlap, they are one."""
    found = []
    for pattern in patterns:
        if pattern.needles and not any(needle in text for needle in pattern.needles):
            continue
        for match in pattern.expression.finditer(text):
            group = match.lastindex or 0 if pattern.kind not in _WHOLE_MATCH else 0
            if pattern.accepts(match[group]):
                found.append(Span(match.start(group), match.end(group), pattern.kind))
    merged: list[Span] = []
    for span in sorted(found):
        if merged and span.start < merged[-1].end:
            last = merged.pop()
            span = Span(last.start, max(last.end, span.end), last.kind)
        merged.append(span)
    return merged


@dataclass(frozen=True, slots=True)
class _Cut:
    """*text* from *start* to *end* goes, and *mark* comes in its place; *first* is where its secret begins."""

    start: int
    end: int
    mark: str
    first: int


def _cuts(text: str, patterns: Sequence[Pattern]) -> list[_Cut]:
    """What must be cut out of *text*; escape sequences inside a secret stay."""
    if "\x1b" not in text:
        return [_Cut(s.start, s.end, mark(s.kind), s.start) for s in find_secrets(text, patterns)]
    seen: list[str] = []
    bounds = [0]  # where each run of visible text begins, in visible characters
    places = []  # and in *text*
    at = 0
    for escape in (*_ESCAPE.finditer(text), None):
        end = escape.start() if escape else len(text)
        if end > at:
            seen.append(text[at:end])
            places.append(at)
            bounds.append(bounds[-1] + end - at)
        at = escape.end() if escape else end
    cuts = []
    for span in find_secrets("".join(seen), patterns):
        run = bisect_right(bounds, span.start) - 1
        first = places[run] + span.start - bounds[run]
        position = span.start
        while position < span.end:
            stop = min(span.end, bounds[run + 1])
            start = places[run] + position - bounds[run]
            cuts.append(
                _Cut(start, start + stop - position, mark(span.kind) if position == span.start else "", first)
            )
            position, run = stop, run + 1
    return cuts


def redact(text: str, patterns: Sequence[Pattern] = PATTERNS) -> str:
    """*text* with its secrets replaced."""
    return _apply(_cuts(text, patterns), text, 0)


def _apply(cuts: Iterable[_Cut], text: str, offset: int) -> str:
    """*text*, which begins at *offset* of what the *cuts* were found in, without what they take of it."""
    out, at = [], 0
    for cut in cuts:
        start, end = cut.start - offset, cut.end - offset
        if end <= 0 or start >= len(text):
            continue
        out.append(text[at : max(start, 0)])
        out.append(cut.mark if start >= 0 else "")
        at = min(end, len(text))
    return "".join(out) + text[at:]


@dataclass(slots=True)
class _Piece(Generic[T]):
    item: T
    stream: str
    text: str


class StreamRedactor(Generic[T]):
    """Redacts a sequence of texts of several streams, also where a secret is spread over many of them.

    Give it each *item* with its *stream* and text; it gives them back in the same order with what is left of the text,
    late by up to 2 * `LONGEST_SECRET` characters of all streams together, in which a secret must lie to be found.
    """

    def __init__(self, patterns: Sequence[Pattern] = PATTERNS) -> None:
        self._patterns = patterns
        self._pieces: deque[_Piece[T]] = deque()
        self._size = 0

    def feed(self, item: T, stream: str, text: str) -> Iterator[tuple[T, str]]:
        self._pieces.append(_Piece(item, stream, text))
        self._size += len(text) + 1  # items without text take room too
        if self._size > 2 * LONGEST_SECRET:
            yield from self._release(LONGEST_SECRET)

    def finish(self) -> Iterator[tuple[T, str]]:
        yield from self._release(0)

    def _release(self, keep: int) -> Iterator[tuple[T, str]]:
        """Give back what has at least *keep* characters behind it."""
        ready, behind = len(self._pieces), 0
        while ready and behind < keep:
            ready -= 1
            behind += len(self._pieces[ready].text) + 1
        for stream in {piece.stream for piece in self._pieces}:
            ready = self._redact(stream, ready)
        for _ in range(ready):
            piece = self._pieces.popleft()
            self._size -= len(piece.text) + 1
            yield piece.item, piece.text
        self._size = sum(len(piece.text) + 1 for piece in self._pieces)

    def _redact(self, stream: str, ready: int) -> int:
        """Redact the secrets that begin in the first *ready* pieces; all of their pieces are redacted at once."""
        numbers = [number for number, piece in enumerate(self._pieces) if piece.stream == stream]
        texts = [self._pieces[number].text for number in numbers]
        starts = [0, *accumulate(len(text) for text in texts)]
        limit = starts[sum(number < ready for number in numbers)]
        cuts = [cut for cut in _cuts("".join(texts), self._patterns) if cut.first < limit]
        if cuts:
            for number, text, start in zip(numbers, texts, starts, strict=False):
                self._pieces[number].text = _apply(
                    [cut for cut in cuts if cut.start < start + len(text) and cut.end > start], text, start
                )
        return ready


def redact_facts(
    facts: Mapping[str, str | list[str]], patterns: Sequence[Pattern] = PATTERNS
) -> dict[str, str | list[str]]:
    """The facts of a header without secrets: a command line can hold some."""
    return {
        name: value
        if name in _NUMBERS
        else redact(value, patterns)
        if isinstance(value, str)
        else [redact(item, patterns) for item in value]
        for name, value in facts.items()
    }


def redact_told(event: Event, patterns: Sequence[Pattern] = PATTERNS) -> Event:
    """An event that is no stream without secrets in its words: a statement, a note, a path.

    Contents in base64 go: nothing finds a secret there, and what is shown of them stands in the stream behind.
    """
    if isinstance(event, Happened) and event.what == CONTENTS:
        event = replace(event, facts={name: value for name, value in event.facts.items() if name != BASE64})
    told = {field.name: _redact_value(getattr(event, field.name), patterns) for field in fields(event)}
    return replace(event, **told)  # type: ignore[arg-type]  # text stays text


def _redact_value(value: object, patterns: Sequence[Pattern]) -> object:
    match value:
        case str():
            return redact(value, patterns)
        case Mapping():
            return {name: _redact_value(item, patterns) for name, item in value.items()}
        case _:
            return value


class Redaction:
    """Redacts events before they are written: what comes in one piece, and what began in the piece before.

    Nothing may wait, because what is delivered must have been written. So the beginning of a secret that came in an
    earlier piece stands there already; only the rest of it is taken away.
    """

    def __init__(self, patterns: Sequence[Pattern] = PATTERNS) -> None:
        self._patterns = patterns
        self._before: dict[type[Event], str] = {}

    def take(self, events: Sequence[Event]) -> list[Event]:
        """*events* as they are to be written down."""
        return [
            type(event)(self._redacted(type(event), event.data))
            if isinstance(event, Output | ErrorOutput | Input)
            else redact_told(event, self._patterns)
            for event in events
        ]

    def finish(self) -> list[Event]:
        return []

    def _redacted(self, stream: type[Event], data: bytes) -> bytes:
        before = self._before.get(stream, "")
        text = before + data.decode("latin-1")
        self._before[stream] = text[-CONTEXT:]
        cuts = [
            cut
            if cut.start >= len(before) or not cut.mark
            else _Cut(len(before), cut.end, cut.mark, cut.first)
            for cut in _cuts(text, self._patterns)
            if cut.end > len(before)
        ]
        return _apply(cuts, data.decode("latin-1"), len(before)).encode("latin-1")
