"""What the bastion shows a cluster to be let in: a client certificate, a token, or what a plugin gives.

None of it appears in a message. Plugins (`exec` in a kubeconfig) are run with an environment of their own making and
not ours, with nothing on stdin, for a limited time (client.authentication.k8s.io/v1).
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bastion.errors import ConfigError
from bastion.runtime.secrets import Secret
from bastion.runtime.tls import load_pair

log = structlog.get_logger()

PLUGIN_TIMEOUT = 30.0
"""Seconds that a plugin may take."""

LARGEST_CREDENTIAL = 1024 * 1024
_KNOWN_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_TO_SPARE = 10.0
"""Seconds before its end at which a credential is taken for expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A client certificate with its chain, and its key (PEM both)."""

    chain: str
    key: Secret

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have *context* show it. Raises ConfigError."""
        try:
            key = load_pem_private_key(self.key.reveal().encode(), password=None)
            load_pair(context, key, self.chain)
        except (ValueError, TypeError, ssl.SSLError):
            raise ConfigError(
                "the client certificate and key for the cluster do not make a pair in PEM"
            ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSource:
    """A token that is known, or a file that it is read from each time: Kubernetes writes new ones into it."""

    value: Secret | None = None
    file: Path | None = None

    def read(self) -> Secret:
        """The token as it is now. Raises ConfigError."""
        if self.value is not None:
            return checked(self.value.reveal(), "the kubeconfig")
        assert self.file is not None
        try:
            token = self.file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the token in {self.file} cannot be read") from error
        return checked(token, str(self.file))


def checked(token: str, place: str) -> Secret:
    """*token*, if it can be one; ConfigError else, before a library complains and shows it."""
    if not _TOKEN.fullmatch(token):
        raise ConfigError(f"what stands for a token in {place} cannot be one")
    return Secret(token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """What a plugin gave, and until when it is good (Unix seconds; None is as long as we want)."""

    token: Secret | None
    certificate: Certificate | None
    expires_at: float | None

    def is_good(self, now: float) -> bool:
        return self.expires_at is None or now < self.expires_at - _TO_SPARE


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A program that gives a credential. *cluster* is what it is told of the cluster, if it is told."""

    program: Path
    arguments: tuple[str, ...]
    environment: Mapping[str, Secret]
    api_version: str
    cluster: dict[str, Any] | None = None

    async def run(self) -> Issued:
        """Ask it. Raises ConfigError."""
        if self.api_version not in _KNOWN_VERSIONS:
            raise self._failed(f"speaks {self.api_version!r}; use {_KNOWN_VERSIONS[0]}")
        try:
            process = await asyncio.create_subprocess_exec(
                self.program,
                *self.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment(),
            )
        except OSError as error:
            raise self._failed(f"cannot be run: {(error.strerror or '').lower()}") from error
        try:
            async with asyncio.timeout(PLUGIN_TIMEOUT):
                answer, complaint = await process.communicate()
        except TimeoutError:
            raise self._failed(f"gave nothing within {PLUGIN_TIMEOUT:.0f} seconds") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            lines = complaint.decode(errors="replace").strip().splitlines()
            log.error("exec-plugin.failed", program=str(self.program), said=lines[-1][:300] if lines else "")
            raise self._failed(f"ended with status {process.returncode}; its last words are in the log")
        return self._understood(answer)

    def _environment(self) -> dict[str, str]:
        spec: dict[str, Any] = {"interactive": False}
        if self.cluster is not None:
            spec["cluster"] = self.cluster
        info = {"apiVersion": self.api_version, "kind": "ExecCredential", "spec": spec}
        return {
            "PATH": os.defpath,
            "HOME": pwd.getpwuid(os.geteuid()).pw_dir,
            "LANG": "C.UTF-8",
            **{name: value.reveal() for name, value in self.environment.items()},
            "KUBERNETES_EXEC_INFO": json.dumps(info),
        }

    def _understood(self, answer: bytes) -> Issued:
        if len(answer) > LARGEST_CREDENTIAL:
            raise self._failed("gave more than a credential")
        try:
            document = json.loads(answer)
        except (ValueError, RecursionError):
            raise self._failed("did not answer with JSON") from None
        match document:
            case {"apiVersion": self.api_version, "kind": "ExecCredential", "status": dict(status)}:
                pass
            case _:
                raise self._failed(f"did not answer with an ExecCredential of {self.api_version}")
        token, chain, key = (status.get(name) for name in ("token", "clientCertificateData", "clientKeyData"))
        if not all(value is None or (isinstance(value, str) and value) for value in (token, chain, key)):
            raise self._failed("gave a credential that is no text")
        if (chain is None) != (key is None) or (token is None and chain is None):
            raise self._failed("gave neither a token nor a certificate with its key")
        certificate = (
            Certificate(chain=chain, key=Secret(key)) if chain is not None and key is not None else None
        )
        return Issued(
            token=checked(token, f"what {self.program.name} gave") if token is not None else None,
            certificate=certificate,
            expires_at=self._moment(status.get("expirationTimestamp")),
        )

    def _moment(self, text: object) -> float | None:
        if text is None:
            return None
        try:
            return datetime.fromisoformat(str(text)).timestamp()
        except ValueError:
            raise self._failed("says no moment at which its credential expires") from None

    def _failed(self, problem: str) -> ConfigError:
        return ConfigError(f"the exec plugin {self.program.name} {problem}")


@dataclass(slots=True, kw_only=True)
class Bearer:
    """The token of requests, anew where it changes. *now* gives Unix seconds."""

    source: TokenSource | None
    plugin: Plugin | None
    issued: Issued | None
    now: Callable[[], float]
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def token(self) -> Secret | None:
        """The token to show, None where there is a certificate instead. Raises ConfigError."""
        if self.plugin is not None:
            async with self._asking:
                if self.issued is None or not self.issued.is_good(self.now()):
                    self.issued = await self.plugin.run()
            return self.issued.token
        return self.source.read() if self.source is not None else None
