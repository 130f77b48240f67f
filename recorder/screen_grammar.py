"""The grammar of what programs write to a terminal, as a table: state and kind of character give action and state.

The states are those of the DEC VT500 parser (Paul Williams' diagram, vt100.net/emu/dec_ansi_parser). Two things differ,
so that what is hidden from some terminals is not hidden from auditors: a line feed ends a string of text (OSC), and a
C1 control ends a sequence, but begins none. What is not in the table drops the character and keeps the state.
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    GROUND = auto()
    ESCAPE = auto()
    ESCAPE_MORE = auto()  # after an intermediate character
    CONTROL = auto()  # a control sequence, after CSI
    IGNORED = auto()  # a control sequence too long to be one, up to its final character
    LINE_STRING = auto()  # OSC, and the title string of screen: text on one line
    DATA_STRING = auto()  # DCS, APC, PM, SOS: graphics and the like


class Kind(Enum):
    """Kinds of characters, as far as the grammar tells them apart."""

    TEXT = auto()
    DRAWING_CONTROL = auto()
    LINE_FEED = auto()
    BELL = auto()
    CANCEL = auto()
    ESCAPE = auto()
    OTHER_CONTROL = auto()
    C1 = auto()
    STRING_TERMINATOR = auto()
    INTERMEDIATE = auto()
    PARAMETER = auto()
    FINAL = auto()
    CONTROL_OPENER = auto()
    LINE_STRING_OPENER = auto()
    DATA_STRING_OPENER = auto()


class Action(Enum):
    DROP = auto()
    SHOW = auto()
    BEGIN = auto()  # forget what was collected
    COLLECT = auto()
    ESCAPE = auto()  # an escape sequence is complete
    CONTROL = auto()  # a control sequence is complete


_SPECIAL = {
    **dict.fromkeys((0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F), Kind.DRAWING_CONTROL),
    0x07: Kind.BELL,
    0x0A: Kind.LINE_FEED,
    0x18: Kind.CANCEL,
    0x1A: Kind.CANCEL,
    0x1B: Kind.ESCAPE,
    0x9C: Kind.STRING_TERMINATOR,
    ord("["): Kind.CONTROL_OPENER,
    **dict.fromkeys(map(ord, "]k"), Kind.LINE_STRING_OPENER),
    **dict.fromkeys(map(ord, "PX^_"), Kind.DATA_STRING_OPENER),
}
_UP_TO = (
    (0x1F, Kind.OTHER_CONTROL),
    (0x2F, Kind.INTERMEDIATE),
    (0x3F, Kind.PARAMETER),
    (0x7E, Kind.FINAL),
    (0x7F, Kind.OTHER_CONTROL),
    (0x9F, Kind.C1),
)
_KINDS = tuple(
    _SPECIAL.get(code) or next(kind for last, kind in _UP_TO if code <= last) for code in range(0xA0)
)  # fmt: skip


def kind_of(char: str) -> Kind:
    code = ord(char)
    return _KINDS[code] if code < 0xA0 else Kind.TEXT


Step = tuple[Action, State]


def _rows(states: tuple[State, ...], kinds: tuple[Kind, ...], step: Step) -> dict[tuple[State, Kind], Step]:
    return {(state, kind): step for state in states for kind in kinds}


def _grammar() -> dict[tuple[State, Kind], Step]:
    everywhere = tuple(State)
    sequences = (State.ESCAPE, State.ESCAPE_MORE, State.CONTROL, State.IGNORED)
    strings = (State.LINE_STRING, State.DATA_STRING)
    openers = (Kind.CONTROL_OPENER, Kind.LINE_STRING_OPENER, Kind.DATA_STRING_OPENER)
    letters = (Kind.FINAL, *openers)
    shown = (Kind.DRAWING_CONTROL, Kind.LINE_FEED)
    table = _rows(everywhere, (Kind.ESCAPE,), (Action.BEGIN, State.ESCAPE))
    table |= _rows(everywhere, (Kind.CANCEL,), (Action.DROP, State.GROUND))
    for state in (State.GROUND, *sequences):
        table |= _rows((state,), shown, (Action.SHOW, state))
    table |= _rows(
        (State.GROUND,), (Kind.TEXT, Kind.INTERMEDIATE, Kind.PARAMETER, *letters), (Action.SHOW, State.GROUND)
    )

    escapes = (State.ESCAPE, State.ESCAPE_MORE)
    table |= _rows(escapes, (Kind.INTERMEDIATE,), (Action.COLLECT, State.ESCAPE_MORE))
    table |= _rows(escapes, (Kind.PARAMETER, *letters), (Action.ESCAPE, State.GROUND))
    table |= _rows((State.ESCAPE,), (Kind.CONTROL_OPENER,), (Action.DROP, State.CONTROL))
    table |= _rows((State.ESCAPE,), (Kind.LINE_STRING_OPENER,), (Action.DROP, State.LINE_STRING))
    table |= _rows((State.ESCAPE,), (Kind.DATA_STRING_OPENER,), (Action.DROP, State.DATA_STRING))

    table |= _rows((State.CONTROL,), (Kind.INTERMEDIATE, Kind.PARAMETER), (Action.COLLECT, State.CONTROL))
    table |= _rows((State.CONTROL,), letters, (Action.CONTROL, State.GROUND))
    table |= _rows((State.IGNORED,), letters, (Action.DROP, State.GROUND))

    table |= _rows(sequences, (Kind.TEXT,), (Action.SHOW, State.GROUND))
    table |= _rows((*sequences, *strings), (Kind.STRING_TERMINATOR,), (Action.DROP, State.GROUND))
    table |= _rows(sequences, (Kind.C1,), (Action.DROP, State.GROUND))
    table |= _rows((State.LINE_STRING,), (Kind.BELL,), (Action.DROP, State.GROUND))
    table |= _rows((State.LINE_STRING,), (Kind.LINE_FEED,), (Action.SHOW, State.GROUND))
    return table


GRAMMAR = _grammar()
