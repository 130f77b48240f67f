"""Errors of policy. A denial is never one of them: it is a `Decision` with a reason.

    PolicyError
    └── PatternError       a pattern in a rule that could never match anything

They carry a message fit for a person and a hint. `PatternError` is a ValueError too, so that pydantic reports it
with its place in the file.
"""

from __future__ import annotations


class PolicyError(Exception):
    """The root: *message* says what is wrong, *hint* what to do about it (may be empty)."""

    exit_code = 78

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class PatternError(PolicyError, ValueError):
    pass
