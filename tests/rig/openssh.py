"""The stock OpenSSH client, cut off from the configuration, keys and agent of whoever runs it.

Everything it reads or writes is in one folder. Knows how to call ssh, scp and sftp, not what answers.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pexpect

from tests.rig.process import RigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a command ended, and its two streams kept apart."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode(errors="replace")

    @property
    def errors(self) -> str:
        return self.stderr.decode(errors="replace")


class Client:
    """A person's ssh: one key, one known_hosts, one configuration that says which port `localhost` means."""

    def __init__(self, folder: Path, *, port: int, host: str = "localhost", settings: str = "") -> None:
        """Make a key and a configuration in *folder*; *settings* are ssh_config lines put in front of ours."""
        self.folder = folder.absolute()
        self.host = host
        self.port = port
        self.key = self.folder / "id_ed25519"
        self.certificate = self.folder / "id_ed25519-cert.pub"
        self.known_hosts = self.folder / "known_hosts"
        self.config = self.folder / "ssh_config"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.key.exists():
            keygen = [
                "ssh-keygen",
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-C",
                self.folder.name,
                "-f",
                str(self.key),
            ]
            subprocess.run(keygen, check=True, stdin=subprocess.DEVNULL)
        self.config.write_text(self._configuration(settings))

    @property
    def public_key(self) -> str:
        return Path(f"{self.key}.pub").read_text().strip()

    def trust_host(self) -> None:
        """Learn the server's host key once, so that no later run has words about it on stderr."""
        scan = subprocess.run(
            ["ssh-keyscan", "-T", "10", "-p", str(self.port), "127.0.0.1"], capture_output=True, check=False
        )
        keys = [
            line.split(" ", 1)[1] for line in scan.stdout.decode().splitlines() if not line.startswith("#")
        ]
        if not keys:
            raise RigError(f"no host key on port {self.port}: {scan.stderr.decode(errors='replace')}")
        self.known_hosts.write_text("".join(f"[{self.host}]:{self.port} {key}\n" for key in keys))

    def command(self, *arguments: str, program: str = "ssh") -> list[str]:
        """The argument list that runs *program* (ssh, scp or sftp) with this client's configuration."""
        return [program, "-F", str(self.config), *arguments]

    def run(
        self, *arguments: str, program: str = "ssh", stdin: bytes = b"", timeout: float = 30.0
    ) -> Finished:
        """Run without a terminal to the end; subprocess.TimeoutExpired when it takes longer than *timeout* s."""
        done = subprocess.run(
            self.command(*arguments, program=program),
            input=stdin,
            capture_output=True,
            check=False,
            timeout=timeout,
        )
        return Finished(status=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def popen(self, *arguments: str, program: str = "ssh") -> subprocess.Popen[bytes]:
        """Start without a terminal, all three streams as pipes."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(*arguments, program=program), stdin=pipe, stdout=pipe, stderr=pipe
        )

    def spawn(
        self,
        *arguments: str,
        rows: int = 24,
        columns: int = 80,
        term: str = "xterm-256color",
        timeout: float = 20.0,
    ) -> pexpect.spawn[str]:
        """Start in a terminal of its own; the caller closes it."""
        program, *rest = self.command(*arguments)
        environment = {**os.environ, "TERM": term}
        return pexpect.spawn(
            program, rest, dimensions=(rows, columns), env=environment, encoding="utf-8", codec_errors="replace",
            timeout=timeout,
        )  # fmt: skip

    def _configuration(self, settings: str) -> str:
        return f"""\
{settings}
Host *
    AddressFamily inet
    Port {self.port}
    IdentityFile "{self.key}"
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile "{self.known_hosts}"
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking accept-new
    UpdateHostKeys no
    ConnectTimeout 10
"""


def fingerprint(public_key: Path) -> str:
    """The fingerprint `SHA256:…` of the key in a .pub or known_hosts file."""
    listing = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(public_key)], check=True, capture_output=True, text=True
    )
    return listing.stdout.split()[1]
