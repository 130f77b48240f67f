"""What clusters refuse, and what goes wrong on the way to them, as errors with a message for the person.

A cluster's own words are passed on; what the bastion shows it to be let in is in no message.
"""

from __future__ import annotations

import json
import ssl
from typing import Any, NoReturn

import httpx2
import structlog

from bastion.config.targets import KubernetesTarget
from bastion.errors import ConfigError, TargetError

log = structlog.get_logger()


class ClusterRefused(TargetError):
    """The cluster answered with a refusal; *status* is that of HTTP, *reason* that of the Status object."""

    def __init__(self, message: str, *, status: int, reason: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.reason = reason


class NotSpokenFor(ClusterRefused):
    """The cluster does not let the bastion speak for this person, or in one of their groups."""


def refusal(name: str, status: int, content: bytes) -> ClusterRefused:
    """What a cluster said in refusing, in its own words where it gave any (meta/v1 Status)."""
    document = object_in(content) or {}
    message, reason = (document.get(key) for key in ("message", "reason"))
    said = message if isinstance(message, str) and message else f"HTTP status {status}"
    if status == 401:  # not the person's credential, and so not theirs to mend
        log.error("cluster.credential-refused", target=name, reason=said)
        return ClusterRefused(
            f"{name} does not let the bastion in",
            status=status,
            reason="Unauthorized",
            hint=f"People who run the bastion see why with: bastion target check {name}",
        )
    if status == 403 and " cannot impersonate " in said:
        log.error("cluster.not-spoken-for", target=name, reason=said)
        return NotSpokenFor(
            f"{name} does not let the bastion speak for you: {said[:500]}",
            status=status,
            reason="Forbidden",
            hint="People who run the bastion grant it what bastion target manifest prints, or tell the cluster of fewer"
            " groups (impersonate_groups).",
        )
    return ClusterRefused(
        f"{name} refused: {said[:500]}", status=status, reason=reason if isinstance(reason, str) else ""
    )


def unusable(target: KubernetesTarget, error: ConfigError) -> NoReturn:
    """Raise TargetError: what is wrong with the bastion's own credential is for the log, not for who uses it."""
    log.error("cluster.unusable", target=target.name, reason=error.message, hint=error.hint)
    raise TargetError(
        f"the bastion has no usable credential for {target.name}",
        hint=f"People who run the bastion see why with: bastion target check {target.name}",
    ) from error


class told_as_errors_of:  # noqa: N801 - reads as a verb where it is used
    """Turn what the HTTP library raises into a TargetError about the cluster of that name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case httpx2.ConnectTimeout():
                raise silent(self._name) from None
            case httpx2.ConnectError() if (cause := _tls_cause(error)) is not None:
                raise untrusted(self._name, cause) from None
            case httpx2.TransportError():
                raise TargetError(f"{self._name} cannot be reached: {reason_of(error)}") from None


def _tls_cause(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


def untrusted(name: str, error: ssl.SSLError) -> TargetError:
    """The error of a cluster whose certificate is not the one on record."""
    why = (
        error.verify_message
        if isinstance(error, ssl.SSLCertVerificationError)
        else (error.reason or "TLS failed")
    )
    return TargetError(
        f"{name} does not prove that it is the cluster on record ({why}); the connection was refused",
        hint="People who run the bastion look at certificate-authority and tls-server-name in its kubeconfig.",
    )


def silent(name: str, seconds: float | None = None) -> TargetError:
    """The error of a cluster that did not answer within *seconds*."""
    within = f" within {seconds:g} seconds" if seconds is not None else ""
    return TargetError(f"{name} did not answer{within}")


def reason_of(error: BaseException) -> str:
    """What *error* says, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def object_in(content: bytes) -> dict[str, Any] | None:
    """The JSON object in *content*, None if there is none."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
