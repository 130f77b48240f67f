"""Refusals as a Kubernetes client reads them: Status objects (meta/v1) in JSON, with a message for the person."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "Timeout",
    413: "RequestEntityTooLarge",
    429: "TooManyRequests",
    500: "InternalError",
    502: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is answered by the bastion, and not by the cluster."""

    code: int
    message: str

    @property
    def phrase(self) -> str:
        return HTTPStatus(self.code).phrase

    @property
    def body(self) -> bytes:
        """The Status object."""
        return _status(
            "Failure",
            message=f"bastion: {self.message}",
            reason=_REASONS.get(self.code, "InternalError"),
            code=self.code,
        )


def exit_status(status: int) -> bytes:
    """How a program in a pod ended, as the error stream of exec says it."""
    if status == 0:
        return _status("Success")
    return _status(
        "Failure",
        message=f"command terminated with non-zero exit code: {status}",
        reason="NonZeroExitCode",
        details={"causes": [{"reason": "ExitCode", "message": str(status)}]},
    )


def failed(message: str) -> bytes:
    """That a stream ended for a reason of ours, as its error stream says it."""
    return _status("Failure", message=message, reason="InternalError", code=500)


def _status(status: str, **fields: Any) -> bytes:
    return json.dumps(
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": status, **fields}
    ).encode()
