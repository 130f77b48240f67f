"""What stands in the header of a recording: who, from where, on what, as whom, and what for."""

from __future__ import annotations

from collections.abc import Mapping

from bastion.config.model import Recording
from bastion.config.targets import Target
from bastion.identity.person import Person
from bastion.sessions.copying import Copy
from bastion.sessions.session import Client
from bastion.transport.request import SessionRequest
from recorder.header import Header

_DEFAULT_SIZE = (80, 24)
"""Size written into recordings without a terminal."""


def header_of(
    person: Person,
    client: Client,
    target: Target,
    request: SessionRequest,
    copy: Copy | None,
    facts: Mapping[str, str],
    *,
    settings: Recording,
    started_at: float,
) -> Header:
    """The header for a session; *facts* are what was decided about it."""
    columns, rows = (request.pty.columns, request.pty.rows) if request.pty else _DEFAULT_SIZE
    return Header(
        started_at=started_at,
        columns=columns or _DEFAULT_SIZE[0],
        rows=rows or _DEFAULT_SIZE[1],
        terminal=request.pty.terminal if request.pty else None,
        input=settings.input,
        redacted=settings.redact,
        facts={
            "user": person.user,
            "issuer": person.issuer,
            "subject": person.subject,
            "groups": list(person.groups),
            "serial": f"{person.serial:016x}",
            "method": person.method,
            "key": person.key_fingerprint or "",
            "client": str(client),
            "client_version": client.version,
            "target": target.name,
            "kind": target.kind,
            "labels": [f"{name}={value}" for name, value in sorted(target.labels.items())],
            "command": request.command,
            **_environment(request, target),
            **_contents(copy, settings),
            **_forwards(request),
            **facts,
        },
    )


def _environment(request: SessionRequest, target: Target) -> dict[str, list[str]]:
    """The variables that are passed on, exactly: `\\xNN` for bytes that are not UTF-8, and two backslashes for one."""
    if target.kind != "ssh" or not request.environment:
        return {}
    variables = [name + b"=" + value for name, value in request.environment.items()]
    return {
        "environment": [
            variable.replace(b"\\", rb"\\").decode("utf-8", "backslashreplace") for variable in variables
        ]
    }


def _contents(copy: Copy | None, settings: Recording) -> dict[str, str]:
    """What a recording of file transfers says about them."""
    if copy is None:
        return {}
    return {"contents": "kept" if settings.file_contents else "manifest"}


def _forwards(request: SessionRequest) -> dict[str, str]:
    """What of the client the target may ask for."""
    asked = {"agent": request.agent, "x11": request.x11 is not None}
    words = " ".join(word for word, is_asked in asked.items() if is_asked)
    return {"forwards": words} if words else {}
