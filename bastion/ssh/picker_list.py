"""The picker as a state: what is typed, what is found, what is selected, which login. Keys in, a decision out.

Pure: it knows neither the terminal nor how it is drawn; the height of the list is told to it, for paging.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from fnmatch import fnmatchcase

from bastion.ssh.picker_match import Entry, Match, Row, search
from recorder.terminal.keyboard import Key

LONGEST_QUERY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was picked. *login* is None where the entry offers none; *typed_ahead* came after the last key used."""

    entry: Entry
    login: str | None
    typed_ahead: bytes = b""


class Left(Enum):
    """The person left without picking."""

    LEFT = auto()


class PickerList:
    """The list with its filter. *height* is how many rows are in sight; whoever draws keeps it true."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.rows = [Row(entry) for entry in entries]
        self.query = ""
        self.found: list[Match] = search(self.rows, "")
        self.selected = 0
        self.height = 10
        self.shows_keys = False
        self._typed_login = ""
        self._login_index: dict[str, int] = {}

    def renew(self, entries: Sequence[Entry]) -> bool:
        """Take other entries, and keep what is typed and what is selected; false if they are the same ones."""
        if [row.entry for row in self.rows] == list(entries):
            return False
        before = self.current.row.name if self.current else None
        self.rows = [Row(entry) for entry in entries]
        self.filter(self.query)
        names = [match.row.name for match in self.found]
        self.selected = names.index(before) if before in names else 0
        return True

    @property
    def current(self) -> Match | None:
        """The selected match, or None where nothing is found."""
        return self.found[self.selected] if self.found else None

    def press(self, key: Key | str) -> Choice | Left | None:
        """Take one key; None means that the list stays open."""
        if key in (Key.INTERRUPT, Key.END_OF_INPUT):
            return Left.LEFT
        if self.shows_keys:
            self.shows_keys = False
            return None
        if isinstance(key, str):
            return self._typed(key)
        match key:
            case Key.ESCAPE:
                return Left.LEFT
            case Key.ENTER if self.current:
                entry = self.current.row.entry
                return Choice(entry=entry, login=self.login_of(entry))
            case Key.BACKSPACE | Key.DELETE_WORD | Key.DELETE_LINE:
                words = self.query.rstrip().rpartition(" ")[0]
                kept = {Key.BACKSPACE: self.query[:-1], Key.DELETE_WORD: words, Key.DELETE_LINE: ""}
                self.filter(kept[key])
            case Key.TAB | Key.RIGHT | Key.BACK_TAB | Key.LEFT:
                self._turn_login(1 if key in (Key.TAB, Key.RIGHT) else -1)
            case _:
                self._move(key)
        return None

    def _typed(self, char: str) -> Left | None:
        if char == "?":
            self.shows_keys = True
        elif char == "q" and not self.query and not any(row.lower_name.startswith("q") for row in self.rows):
            return Left.LEFT
        elif len(self.query) < LONGEST_QUERY:
            self.filter(self.query + char)
        return None

    def _move(self, key: Key) -> None:
        page = max(self.height - 1, 1)
        last = max(len(self.found) - 1, 0)
        steps = {
            Key.UP: -1,
            Key.DOWN: 1,
            Key.PAGE_UP: -page,
            Key.PAGE_DOWN: page,
            Key.HOME: -last,
            Key.END: last,
        }
        self.selected = min(max(self.selected + steps.get(key, 0), 0), last)

    def filter(self, query: str) -> None:
        """Find anew. `root@web` finds `web` among the entries that offer a login beginning with `root`."""
        self.query, self.selected = query.lstrip(), 0
        login, at, words = self.query.partition("@")
        self._typed_login = login.strip() if at else ""
        if self._typed_login:
            offering = (row for row in self.rows if _offered(row.entry, self._typed_login))
            self.found = search(offering, words)
            if self.found:
                return
            self._typed_login = ""  # an @ in a description
        self.found = search(self.rows, self.query)

    def logins_of(self, entry: Entry, typed: str | None = None) -> list[str]:
        """The logins to choose from, given what is typed before an @."""
        return _offered(entry, self._typed_login if typed is None else typed)

    def login_of(self, entry: Entry) -> str | None:
        """The login that Enter would take, or None where there is none to choose."""
        logins = self.logins_of(entry)
        return logins[self._login_index.get(entry.name, 0) % len(logins)] if logins else None

    def _turn_login(self, by: int) -> None:
        if self.current and (logins := self.logins_of(entry := self.current.row.entry)):
            self._login_index[entry.name] = (self._login_index.get(entry.name, 0) + by) % len(logins)


def _offered(entry: Entry, typed: str) -> list[str]:
    """Logins of *entry* that begin with *typed*, the exact one first; a pattern offers what is typed itself."""
    concrete = [login for login in entry.logins if not _is_pattern(login)]
    if not typed:
        return concrete
    fitting = sorted(
        (login for login in concrete if login.startswith(typed)), key=lambda login: login != typed
    )
    if typed not in fitting and any(
        fnmatchcase(typed, login) for login in entry.logins if _is_pattern(login)
    ):
        fitting.append(typed)
    return fitting


def _is_pattern(login: str) -> bool:
    return "*" in login or "?" in login
