"""The kubeconfig for one person and one cluster: the bastion's name for it, whom to trust, and a token.

A token is random; only its digest is kept, with the sign-in and the target that it is for.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

HTTPS_PORT = 443
API_PORTS = (HTTPS_PORT, 6443)
"""Ports on which the API of a cluster is asked for."""

SOCKS_PORT = 1080


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """What stands in it. *ssh* is the command that leads to the bastion; *root* whom to trust, in PEM.

    Through SOCKS (`ssh -D`) kubectl asks for the target by its name, on *local_port*; with *is_forward* it connects to
    that port itself (`ssh -L`), and expects the target's name there.
    """

    target: str
    user: str
    token: str
    root: str
    expires_at: float
    ssh: str
    bastion: str
    namespace: str | None = None
    local_port: int = SOCKS_PORT
    is_forward: bool = False

    def __str__(self) -> str:
        """The file, in YAML."""
        return "\n".join([*self._comments(), *self._settings(), ""])

    def _comments(self) -> list[str]:
        until = datetime.fromtimestamp(self.expires_at, UTC)
        local = f"127.0.0.1:{self.local_port}"
        forward = f"-L {local}:{self.target}:{HTTPS_PORT}" if self.is_forward else f"-D {local}"
        options = f" --local-port {self.local_port}" if self.is_forward else ""
        file = f"{self.target}.kubeconfig"
        return [
            f"# kubectl on {self.target} as {self.user}, until {until:%Y-%m-%d %H:%M} UTC.",
            f"# It works inside your own SSH connection to {self.bastion} alone; the token keeps others out.",
            "#",
            f"#   {self.ssh} kubeconfig {self.target}{options} > {file}",
            f"#   {self.ssh.replace('ssh', f'ssh -N {forward}', 1)} &",
            f"#   kubectl --kubeconfig {file} get pods",
        ]

    def _settings(self) -> list[str]:
        name, user = _quoted(self.target), _quoted(f"{self.user}@{self.target}")
        if self.is_forward:
            reached = [
                f"    server: https://127.0.0.1:{self.local_port}",
                f"    tls-server-name: {name}",
            ]
        else:
            reached = [
                f"    server: https://{self.target}:{HTTPS_PORT}",
                f"    proxy-url: socks5://127.0.0.1:{self.local_port}",
            ]
        namespace = [] if self.namespace is None else [f"    namespace: {_quoted(self.namespace)}"]
        return [
            "apiVersion: v1",
            "kind: Config",
            "clusters:",
            f"- name: {name}",
            "  cluster:",
            *reached,
            f"    certificate-authority-data: {base64.b64encode(self.root.encode()).decode()}",
            "users:",
            f"- name: {user}",
            "  user:",
            f"    token: {self.token}",
            "contexts:",
            f"- name: {name}",
            "  context:",
            f"    cluster: {name}",
            f"    user: {user}",
            *namespace,
            f"current-context: {name}",
        ]


def token_digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _quoted(text: str) -> str:
    return json.dumps(text)  # a JSON string is a YAML one
