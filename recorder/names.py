"""How recordings are named: an id for people, and the place in the folder that follows from it.

`261124-k7f3m9q` is the day (UTC) and 35 random bits in Crockford's base 32, which has no letters that look like
digits; it stands in `2026/11/24/261124-k7f3m9q.cast`, or encrypted in `….cast.age` beside its label.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import PurePath, PurePosixPath
from typing import NewType

SessionId = NewType("SessionId", str)

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
SUFFIX = ".cast"
ENCRYPTED = ".cast.age"
LABEL = ".label"

_SHAPE = re.compile(rf"\d{{6}}-[{ALPHABET}]{{7}}")
_LOOKALIKES = str.maketrans("oil", "011")


def base32(data: bytes, length: int) -> str:
    """The first *length* digits (5 bits each, from the lowest) of *data* in Crockford's base 32."""
    number = int.from_bytes(data, "big")
    return "".join(ALPHABET[(number >> 5 * place) & 31] for place in range(length))


def new_id(now: float, random: Callable[[int], bytes]) -> SessionId:
    """Make an id for a session that starts at *now* (Unix seconds)."""
    return SessionId(f"{datetime.fromtimestamp(now, UTC):%y%m%d}-{base32(random(5), 7)}")


def is_id(text: str) -> bool:
    """Whether *text* is a whole id."""
    return _SHAPE.fullmatch(text) is not None


def as_typed(text: str) -> str:
    """What somebody who typed *text* meant: no capitals, and digits for the letters that look like them."""
    return text.strip().lower().translate(_LOOKALIKES)


def place(session_id: SessionId) -> PurePosixPath:
    """The file of a recording, relative to the folder."""
    return PurePosixPath(f"20{session_id[:2]}", session_id[2:4], session_id[4:6], session_id + SUFFIX)


def id_in(path: PurePath) -> str:
    """What a file of a recording is named after, whichever of its files it is; not always an id."""
    return path.name.partition(".")[0]


def is_encrypted(path: PurePath) -> bool:
    """Whether the name of *path* says that it is encrypted with age."""
    return path.suffix == ".age"
