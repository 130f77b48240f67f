"""Real OpenSSH servers on loopback, with logins that are no accounts of this machine.

nss_wrapper, preloaded into sshd and into its sessions, answers for the account database: every login is the user
who runs this, under another name and with a home of its own, so nothing outside *folder* is touched and root is
not needed. Knows nothing of the bastion: a target only trusts the keys it is told to.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rig.openssh import fingerprint
from tests.rig.process import RigError, descendants, end, free_port, kill_all, wait_until

PRIVILEGE_SEPARATION_FOLDER = Path("/run/sshd")
"""Compiled into Debian's sshd, which insists on it when it runs as root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Where the programs are: those of the system, or those that scripts/setup unpacked into the environment."""

    root: Path
    sshd: Path
    wrapper: Path

    @property
    def libraries(self) -> Path:
        return self.wrapper.parent

    @property
    def is_unpacked(self) -> bool:
        return self.sshd.is_relative_to(self.root)

    @property
    def helpers(self) -> Path:
        """Where sshd's own programs are, those that it finds by a path compiled in."""
        return (self.root if self.is_unpacked else Path("/")) / "usr/lib/openssh"


@cache
def installation() -> Installation:
    """Find sshd and nss_wrapper; RigError when they are not there."""
    root = Path(sys.prefix) / "openssh"
    folders = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", str(root / "usr/sbin")]
    sshd = shutil.which("sshd", path=os.pathsep.join(folders))
    wrapper = next(
        (found for top in (Path("/"), root) for found in top.glob("usr/lib/*/libnss_wrapper.so")), None
    )
    if sshd is None or wrapper is None:
        raise RigError("sshd or libnss_wrapper.so is not here; scripts/setup brings both")
    return Installation(root=root, sshd=Path(sshd), wrapper=wrapper)


class Sshd:
    """One server. `with Sshd(folder, name="web-1") as web: …`, or `start()` and `stop()`."""

    def __init__(
        self, folder: Path, *, name: str, logins: Sequence[str] = ("deploy",), settings: Sequence[str] = ()
    ) -> None:
        """Prepare a server in *folder*; *settings* are lines put in front of its sshd_config."""
        self.folder = folder.absolute()
        self.name = name
        self.logins = tuple(logins)
        self.settings = tuple(settings)
        self.address = "127.0.0.1"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.config = self.folder / "sshd_config"
        self._host_key = self.folder / "host_key"
        if not self._host_key.exists():
            self.new_host_key()
        for login in self.logins:
            self._make_home(login)

    def start(self) -> None:
        """Start and return once it accepts connections; the port stays the same over restarts."""
        if os.geteuid() == 0:
            PRIVILEGE_SEPARATION_FOLDER.mkdir(mode=0o755, exist_ok=True)
        chosen = self.port
        for _ in range(10):
            self.port = chosen or free_port()
            if self._try_to_start():
                with socket.create_connection((self.address, self.port), timeout=10):
                    return
            if chosen or "Address already in use" not in self.log:
                break
        raise RigError(f"sshd {self.name} did not start on port {self.port}:\n{self.log}")

    def stop(self) -> None:
        """End it and all its sessions; nothing happens when it is not running."""
        if self._process is not None:
            end(self._process)
            self._process = None

    def drop_sessions(self) -> None:
        """End every session as if the machine had lost power under it; new ones are still accepted."""
        if self._process is not None:
            kill_all(descendants(self._process.pid))

    def trust_ca(self, *public_keys: str) -> None:
        """Accept certificates signed by these keys and no others, from the next login on."""
        (self.folder / "trusted_cas").write_text("".join(key.strip() + "\n" for key in public_keys))

    def authorize(self, login: str, public_key: str) -> None:
        """Accept a plain key for *login*, beside certificates."""
        keys = self.home(login) / ".ssh/authorized_keys"
        keys.parent.mkdir(mode=0o700, exist_ok=True)
        keys.write_text(public_key.strip() + "\n")

    def new_host_key(self, kind: str = "ed25519") -> None:
        """Make another host key, used from the next start on; a host certificate of the old one goes."""
        for suffix in ("", ".pub", "-cert.pub"):
            self._host_key.with_name(self._host_key.name + suffix).unlink(missing_ok=True)
        _keygen("-t", kind, "-N", "", "-C", self.name, "-f", str(self._host_key))

    def certify_host_key(self, ca_key: Path, *, principals: Sequence[str] = ()) -> None:
        """Have the host key signed by a host CA, used from the next start on."""
        names = ",".join(principals or (self.name, "localhost", self.address))
        public = f"{self._host_key}.pub"
        _keygen("-s", str(ca_key), "-I", self.name, "-h", "-n", names, "-V", "-1m:+1d", public)

    @property
    def host_key(self) -> str:
        """The public host key as `ssh-ed25519 AAAA…`, without a comment."""
        return " ".join(Path(f"{self._host_key}.pub").read_text().split()[:2])

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the host key, `SHA256:…`."""
        return fingerprint(Path(f"{self._host_key}.pub"))

    @property
    def log(self) -> str:
        """What sshd logged so far: logins with key id and serial, refusals, disconnects."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for_log(self, text: str, *, timeout: float = 10.0) -> None:
        """Return once *text* stands in the log."""
        wait_until(lambda: text in self.log, f"{text!r} in the log of {self.name}", timeout=timeout)

    def home(self, login: str) -> Path:
        """The home folder of *login*."""
        return self.folder / "home" / login

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_home(self, login: str) -> None:
        home = self.home(login)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The prompt of an ordinary account, also where root runs the rig and bash would say '#'.
        (home / ".bash_profile").write_text("PS1='\\u@\\h:\\w$ '\nunset HISTFILE\n")

    def _try_to_start(self) -> bool:
        here = installation()
        log = self.folder / "log"
        self.config.write_text(self._configuration(here))
        log.write_bytes(b"")
        (self.folder / "trusted_cas").touch()
        environment = {
            "PATH": os.defpath,
            "LD_LIBRARY_PATH": str(here.libraries) if here.is_unpacked else "",
            **self._wrapper_environment(here, None),
        }
        self._process = subprocess.Popen(
            [here.sshd, "-D", "-f", self.config, "-E", log],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log.open("ab"),
            env=environment, cwd="/", start_new_session=True,
        )  # fmt: skip
        process = self._process
        wait_until(
            lambda: process.poll() is not None or "Server listening on" in self.log,
            f"sshd {self.name} listening",
        )
        return process.poll() is None

    def _configuration(self, here: Installation) -> str:
        lines = [
            *self.settings,
            f"ListenAddress {self.address}:{self.port}",
            f'HostKey "{self._host_key}"',
            f'TrustedUserCAKeys "{self.folder}/trusted_cas"',
            "PidFile none",
            "LogLevel VERBOSE",
            "UsePAM no",
            "UseDNS no",
            # All logins are the user who runs this, also where that is root.
            "PermitRootLogin yes",
            # The folder may stand below one that others may write, such as /tmp.
            "StrictModes no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PrintMotd no",
            "PrintLastLog no",
            "MaxStartups 100",
            "MaxSessions 100",
            "AcceptEnv LANG LC_*",
            "Subsystem sftp internal-sftp",
            *self._since_9_8(here),
        ]
        if Path(f"{self._host_key}-cert.pub").exists():
            lines.append(f'HostCertificate "{self._host_key}-cert.pub"')
        for login in self.logins:
            variables = self._wrapper_environment(here, login).items()
            lines += [f"Match User {login}", "  SetEnv " + " ".join(f'"{k}={v}"' for k, v in variables)]
        return "\n".join(lines) + "\n"

    def _since_9_8(self, here: Installation) -> list[str]:
        """Settings that OpenSSH before 9.8 does not know; since then sshd is split into several programs."""
        session = here.helpers / "sshd-session"
        if not session.exists():
            return []
        # Tests fail to log in on purpose, and all come from one address.
        lines = ["PerSourcePenalties no"]
        if here.is_unpacked:
            lines.append(f'SshdSessionPath "{session}"')
            if (authenticator := here.helpers / "sshd-auth").exists():
                lines.append(f'SshdAuthPath "{authenticator}"')
        return lines

    def _wrapper_environment(self, here: Installation, login: str | None) -> dict[str, str]:
        """What makes nss_wrapper answer; in a session *login* comes first, so that whoami says its name."""
        accounts = self.folder / f"passwd.{login or 'sshd'}"
        accounts.write_text("".join(self._accounts(login)))
        # Without a group tty sshd gives a terminal to the login's own group, which needs no root anywhere.
        groups = self.folder / "group"
        groups.write_text(
            "".join(line for line in _lines("/etc/group", fields=4) if not line.startswith("tty:"))
        )
        variables = {
            "LD_PRELOAD": str(here.wrapper),
            "NSS_WRAPPER_PASSWD": str(accounts),
            "NSS_WRAPPER_GROUP": str(groups),
        }
        return variables | ({"NSS_WRAPPER_HOSTNAME": self.name} if login else {})

    def _accounts(self, first: str | None) -> list[str]:
        order = sorted(self.logins, key=lambda login: login != first)
        ours = [
            f"{login}:x:{os.getuid()}:{os.getgid()}:{login}:{self.home(login)}:/bin/bash\n" for login in order
        ]
        machine = [line for line in _lines("/etc/passwd", fields=7) if line.split(":")[0] not in order]
        # The user that sshd drops to before authentication; present only where openssh-server is installed.
        separation = ["sshd:x:65533:65533::/run/sshd:/usr/sbin/nologin\n"]
        return ours + machine + ([] if any(line.startswith("sshd:") for line in machine) else separation)


def _lines(database: str, *, fields: int) -> list[str]:
    """The lines of an account database that nss_wrapper understands."""
    lines = Path(database).read_text(errors="replace").splitlines(keepends=True)
    return [line for line in lines if line.count(":") == fields - 1]


def _keygen(*arguments: str) -> None:
    subprocess.run(["ssh-keygen", "-q", *arguments], check=True, stdin=subprocess.DEVNULL)
