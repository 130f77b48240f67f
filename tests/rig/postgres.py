"""A real PostgreSQL server on loopback, of Debian's packages: its own cluster in a folder, TLS, roles with passwords.

Knows initdb and the server, not what is asked of it. The server refuses to run as root, so root runs it as another
user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rig.process import RigError, end, free_port, wait_until

USERS = ("postgres", "nobody")


def programs() -> Path:
    """The folder of the newest server that is installed; RigError where none is."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if not found:
        raise RigError("PostgreSQL is not here; scripts/databases installs it")
    return found[-1].parent


class Postgres:
    """One server. `with Postgres(folder) as server: …`, or `start()` and `stop()`."""

    def __init__(
        self,
        folder: Path,
        *,
        certificate: tuple[Path, Path] | None = None,
        ca: str = "",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Make a cluster in *folder*, whose roles sign in by SCRAM.

        With a *certificate* and its key it speaks TLS, and takes certificates of clients that *ca* (PEM) has signed.
        """
        self.folder = folder.absolute()
        self.port = free_port()
        self.log = self.folder / "log"
        self._bin = programs()
        self._user = _user()
        self._process: subprocess.Popen[bytes] | None = None
        self.folder.mkdir(mode=0o755, parents=True)
        self._give_away(self.folder)
        self._run(
            "initdb",
            "--pgdata",
            self._data,
            "--username",
            "postgres",
            "--auth",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
        )
        lines = {
            "port": str(self.port),
            "listen_addresses": "'127.0.0.1'",
            "unix_socket_directories": f"'{self.folder}'",
            "fsync": "off",
            "password_encryption": "'scram-sha-256'",
            "max_connections": "50",
            **(settings or {}),
        }
        if certificate is not None:
            contents = {
                name: path.read_text() for name, path in zip(("crt", "key"), certificate, strict=True)
            }
            for name, content in {**contents, "ca": ca}.items():
                self._put(f"server.{name}", content)
            lines |= {
                "ssl": "on",
                "ssl_cert_file": "'server.crt'",
                "ssl_key_file": "'server.key'",
                "ssl_ca_file": "'server.ca'",
            }
        with (self._data / "postgresql.conf").open("a") as config:
            config.writelines(f"{name} = {value}\n" for name, value in lines.items())
        self.allow("host all all 127.0.0.1/32 scram-sha-256")

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def allow(self, *lines: str) -> None:
        """Write pg_hba.conf: *lines*, in front of what lets the rig in by its socket."""
        file = self._data / "pg_hba.conf"
        file.write_text("\n".join(["local all postgres trust", *lines, ""]))
        if self._process is not None:
            self.sql("SELECT pg_reload_conf()")

    def start(self) -> None:
        """Start and return once it accepts connections."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._as_user(), self._bin / "postgres", "-D", self._data],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        ready: list[str | Path] = [self._bin / "pg_isready", "-q", "-h", self.folder, "-p", str(self.port)]
        wait_until(
            lambda: subprocess.run(ready, check=False).returncode == 0,
            f"PostgreSQL ready, see {self.log}",
            timeout=20,
        )

    def stop(self) -> None:
        """End it; nothing happens when it is not running."""
        process, self._process = self._process, None
        if process is not None:
            end(process)

    def sql(self, *statements: str, database: str = "postgres") -> str:
        """Run *statements* as the superuser over its own socket; returns what psql prints."""
        command: list[str | Path] = [
            self._bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.folder,
            "-p", str(self.port), "-U", "postgres", "-d", database,
        ]  # fmt: skip
        for statement in statements:
            command += ["-c", statement]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if done.returncode:
            raise RigError(f"{statements}: {done.stderr}")
        return done.stdout.strip()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _put(self, name: str, content: str) -> None:
        file = self._data / name
        file.touch(mode=0o600)
        file.write_text(content)
        self._give_away(file)

    def _as_user(self) -> Sequence[str]:
        if self._user is None:
            return []
        return [
            "setpriv",
            "--reuid",
            self._user,
            "--regid",
            str(pwd.getpwnam(self._user).pw_gid),
            "--clear-groups",
        ]

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [*self._as_user(), self._bin / program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            raise RigError(f"{program}: {done.stderr}{done.stdout}")

    def _give_away(self, path: Path) -> None:
        if self._user is not None:
            shutil.chown(path, self._user)


def _user() -> str | None:
    """Whom to run the server as: the one who asks, but for root."""
    if os.geteuid() != 0:
        return None
    for name in USERS:
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise RigError(f"there is none of the users {', '.join(USERS)} to run PostgreSQL as")
