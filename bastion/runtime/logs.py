"""Structured logs on stderr, for people or as JSON, in which nothing can be forged and no secret stands.

Whoever logs calls `structlog.get_logger()` and passes facts by name; ids of the session and the connection travel in
context variables (`structlog.contextvars.bound_contextvars(session=…)`). This module decides only how a line looks.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from bastion.runtime.secrets import Secret

MASK = "***"
OUR_PACKAGES = ("bastion", "recorder", "policy", "cli")

_SECRET_WORDS = frozenset(
    {
        "token",
        "secret",
        "password",
        "passphrase",
        "authorization",
        "cookie",
        "verifier",
        "assertion",
        "private",
    }
)
_HARMLESS_ENDINGS = frozenset({"digest", "fingerprint", "file", "folder", "path"})


def configure_logs(
    format: Literal["console", "json"] = "console",  # noqa: A002 - the name of the setting
    level: str = "info",
    stream: TextIO | None = None,
) -> None:
    """Send our own logs from *level* up, and those of libraries from warning up, to *stream* (stderr)."""
    stream = stream or sys.stderr
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_secrets,
        escape_values,
    ]
    renderer: Processor
    if format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=common,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for package in OUR_PACKAGES:
        logging.getLogger(package).setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *common,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def printable(text: str) -> str:
    r"""*text* with everything that is not plainly visible written as an escape (`\x1b`, `\n`, `\u202e`)."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def names_secret(key: str) -> bool:
    """Whether a value under this name is taken for a secret (`id_token` is, `token_digest` is not)."""
    words = re.split(r"[^a-z]+", key.lower())
    return not _SECRET_WORDS.isdisjoint(words) and words[-1] not in _HARMLESS_ENDINGS


def masked(value: object) -> object:
    """*value* with each `Secret`, and each mapping entry whose name says so, replaced by stars."""
    match value:
        case Secret():
            return MASK
        case Mapping():
            return {key: MASK if names_secret(str(key)) else masked(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [masked(item) for item in value]
        case _:
            return value


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The guard on the way to the renderer: no secret passes it, whoever put it into the event."""
    return {key: MASK if names_secret(key) else masked(value) for key, value in event.items()}


def escape_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """No value can move the cursor, hide text, or begin a line that looks like a log line of ours."""
    return {
        printable(key): _indented(value) if key == "exception" else _escaped(value)
        for key, value in event.items()
    }


def _indented(traceback: object) -> str:
    """A traceback keeps its lines for people to read; indented, none of them can pass for a log line."""
    return "\n".join("    " + printable(line) for line in str(traceback).split("\n"))


def _escaped(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {printable(str(key)): _escaped(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_escaped(item) for item in value]
        case _:
            return printable(str(value))
