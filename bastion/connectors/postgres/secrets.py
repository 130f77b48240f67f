"""Passwords in statements, which no recording is to keep: `ALTER ROLE … PASSWORD '…'` and its kin."""

from __future__ import annotations

import re

_LITERAL = r"(?:[EeBbXxNn]|[Uu]&)?'(?:[^'\\]|''|\\.)*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"
_PASSWORD = re.compile(rf"(?P<word>\bPASSWORD\s+)(?:{_LITERAL})", re.IGNORECASE | re.DOTALL)
_UNENDED = re.compile(r"(?P<word>\bPASSWORD\s+)(?:[EeUu]&?)?['$].*\Z", re.IGNORECASE | re.DOTALL)

MASK = "[masked]"


def without_passwords(statement: str) -> str:
    """*statement* with each password literal replaced; one that does not end is taken to the end."""
    if "password" not in statement.lower():
        return statement
    masked = _PASSWORD.sub(rf"\g<word>{MASK}", statement)
    return _UNENDED.sub(rf"\g<word>{MASK}", masked)
