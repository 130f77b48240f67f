"""Errors of the server.

    BastionError
    ├── ConfigError            the configuration cannot be used as it stands
    ├── KeyFileError           a key file is missing, unreadable, or readable by others
    ├── StateError             the state database refused an operation
    ├── BackupError            a backup cannot be made there
    ├── SignInError            a sign-in failed; the message is fit for the person signing in
    │   └── TokenRejected      an ID token did not pass the verifier
    ├── SessionRefused         the session may not start (policy, lock, expiry, recording)
    └── TargetError            the target cannot be reached or refused us
        └── HostKeyMismatch    the target's host key is not the one we know

Every error carries a message fit for the remote user, a hint that says what to do, and an exit code. The codes
follow sysexits(3); 255 is what ssh itself returns when a host cannot be reached, and Ansible relies on it.
"""

from __future__ import annotations


class BastionError(Exception):
    """The root: *message* says what happened, *hint* what to do about it (may be empty)."""

    exit_code = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ConfigError(BastionError):
    exit_code = 78


class KeyFileError(BastionError):
    exit_code = 78


class StateError(BastionError):
    exit_code = 74


class BackupError(BastionError):
    exit_code = 73


class SignInError(BastionError):
    exit_code = 77


class TokenRejected(SignInError):
    """An ID token broke a rule. *reason* says precisely which, for the log; it never holds the token itself."""

    def __init__(self, reason: str, message: str = "the provider's answer could not be verified") -> None:
        super().__init__(
            f"sign-in refused: {message}",
            hint="Sign in again. If it is refused again, tell whoever runs the bastion; the reason is in its log.",
        )
        self.reason = reason


class SessionRefused(BastionError):
    exit_code = 77


class TargetError(BastionError):
    exit_code = 255


class HostKeyMismatch(TargetError):
    pass
