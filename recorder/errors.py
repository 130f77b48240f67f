"""Errors of the recorder.

    RecorderError
    ├── RecordingFailed      a recording cannot be opened or written; the session must not go on
    ├── FolderInUse          another server writes to this folder of recordings
    ├── RecorderKeyError     a signing or public key is missing, unreadable, or readable by others
    │   └── NoIdentityFits   an encrypted recording is for other identities than those that were named
    ├── NotEncrypted         a recording that is to be encrypted cannot be, now, and stays as it is
    ├── FormatError          a file is not a recording, or one of its lines breaks the format
    ├── NoSuchSession        nothing is known under that id
    └── AmbiguousSession     an abbreviated id fits several sessions

Each carries a message fit for the person at the other end, a hint that says what to do, and an exit code as in
sysexits(3).
"""

from __future__ import annotations


class RecorderError(Exception):
    """The root: *message* says what happened, *hint* what to do about it (may be empty)."""

    exit_code = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class RecordingFailed(RecorderError):
    exit_code = 74


class FolderInUse(RecorderError):
    exit_code = 75


class RecorderKeyError(RecorderError):
    exit_code = 78


class NoIdentityFits(RecorderKeyError):
    pass


class NotEncrypted(RecorderError):
    exit_code = 74


class FormatError(RecorderError):
    """*line* is the number of the offending line, counted from 1; 0 when it is the file as a whole."""

    exit_code = 65

    def __init__(self, message: str, *, line: int = 0, hint: str = "") -> None:
        super().__init__(f"line {line}: {message}" if line else message, hint=hint)
        self.line = line


class NoSuchSession(RecorderError):
    exit_code = 66


class AmbiguousSession(RecorderError):
    exit_code = 64
