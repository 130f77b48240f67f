"""A whole bastion on loopback: embedded sign-in, two real targets, a policy, people. For tests and for the demo.

It is set up with the product's own commands, as a person would: `bastion init`, `bastion target add`, and what that
prints is put on the targets. Starting again keeps keys, state and recordings, whatever ports are free by then.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests import browser
from tests.rig.bastion import Bastion
from tests.rig.openssh import Client, fingerprint
from tests.rig.process import RigError, descendants, end_all, free_port, next_free, running, wait_until
from tests.rig.sshd import Sshd

USER_CODE = re.compile(r"^\s+([A-Z]{4}-[A-Z]{4})\s*$", re.MULTILINE)
"""The code of a sign-in, as the bastion shows it in the terminal."""

JUMPING = """\
StrictHostKeyChecking yes
BatchMode yes
Host bastion
    HostName localhost
Host web-* *.localhost
    Port 22
"""
"""ssh_config of people who call the bastion `bastion`, and targets by their names."""

PEOPLE_AND_POLICY = """
[[development_issuer.people]]
user = "alice"
name = "Alice Ames"
groups = ["sre"]

[[development_issuer.people]]
user = "bob"
name = "Bob Burns"
groups = ["dev"]

[[development_issuer.people]]
user = "carol"
name = "Carol Chen"
groups = ["audit"]

[[policy.rules]]
name = "site reliability"
groups = ["sre"]
targets = ["web-*"]
logins = ["deploy", "ops"]
actions = ["shell", "exec", "sftp"]

[[policy.rules]]
name = "developers on staging"
groups = ["dev"]
labels = { env = "staging" }
logins = ["deploy"]

[[policy.auditors]]
groups = ["audit"]
"""


class World:
    """`with World(folder) as world: …`, or `start()` and `stop()`."""

    def __init__(self, folder: Path, *, port: int = 0, issuer_port: int = 0) -> None:
        """Prepare in *folder*. The ports, of SSH and of the sign-in page, are those or the next free ones; 0 is any.

        Once started they stay the same over restarts.
        """
        self.folder = folder.absolute()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ports = {"server": port or free_port(), "development_issuer": issuer_port or free_port()}
        self.web_1 = Sshd(self.folder / "web-1", name="web-1", logins=("deploy", "ops"))
        self.web_2 = Sshd(self.folder / "web-2", name="web-2", logins=("deploy", "ops"))
        self.bastion = Bastion(self.folder / "bastion.toml")
        self._certified: dict[str, Client] = {}

    @property
    def data(self) -> Path:
        """State, keys and recordings."""
        return self.folder / "data"

    @property
    def recordings(self) -> list[Path]:
        """The files of all recordings, oldest first."""
        return sorted((self.data / "recordings").rglob("*.cast"), key=lambda path: path.stat().st_mtime_ns)

    def start(self) -> None:
        """Start targets and bastion and return once all of them serve."""
        try:
            for target in self.targets:
                target.start()
            self._configure()
            self._write_ports({section: next_free(port) for section, port in self._ports.items()})
            self.bastion.start()
            self._ports = {
                "server": self.bastion.port,
                "development_issuer": urlsplit(self.bastion.issuer).port or 0,
            }
            self._write_ports(self._ports)
        except BaseException:
            self.stop()
            raise

    def end_leftovers(self) -> None:
        """End what an earlier run over the same folder left behind because it was killed itself."""
        pids = running(str(self.bastion.config), "serve")
        for target in self.targets:
            pids += running("-f", str(target.config))
        end_all([process for pid in pids for process in (pid, *descendants(pid))])

    def stop(self) -> None:
        """End everything that was started."""
        self.bastion.stop()
        for target in self.targets:
            target.stop()

    def reload(self) -> None:
        """Have the running bastion read its configuration again, and return once it has."""
        before = self.bastion.log.count("config.reloaded")
        os.kill(self.bastion.pid, signal.SIGHUP)
        wait_until(lambda: self.bastion.log.count("config.reloaded") > before, "the configuration read again")

    def configure(self, settings: str, *, restart: bool = False) -> None:
        """Put *settings* (whole sections of TOML) behind those there are, and have the bastion take them up.

        A running one reads targets, rules and issuers again; for other sections it must *restart*.
        """
        with self.bastion.config.open("a") as config:
            config.write(f"\n{settings}\n")
        if restart:
            self.bastion.stop()
            self.bastion.start()
        else:
            self.reload()

    @property
    def targets(self) -> tuple[Sshd, Sshd]:
        return self.web_1, self.web_2

    def client(self, name: str) -> Client:
        """A person's ssh with a key of its own that knows the bastion's host key, and has no certificate."""
        client = Client(self.folder / "clients" / name, port=self.bastion.port)
        client.trust_host()
        return client

    def approve(self, code: str, person: str) -> None:
        """Sign *person* in with the code that a terminal shows, in a browser."""
        asyncio.run(browser.approve_device(self.bastion.issuer, code, person))

    def open_and_sign_in(self, url: str, person: str) -> None:
        """Sign *person* in at the address that `bastion login` shows, in a browser."""
        asyncio.run(browser.sign_in(url, person))

    def host_fingerprint(self) -> str:
        """The fingerprint of the bastion's host key, as ssh shows it to somebody who comes for the first time."""
        with tempfile.TemporaryDirectory() as folder:
            client = Client(Path(folder), port=self.bastion.port)
            client.trust_host()
            return fingerprint(client.known_hosts)

    def certified(self, person: str) -> Client:
        """The ssh of *person* with a certificate from `ssh login@…`; the same one each time it is asked for."""
        if person not in self._certified:
            client = self.client(person)
            self.sign_in(client, person)
            self._certified[person] = client
        return self._certified[person]

    def jumper(self, person: str) -> Client:
        """The ssh of *person* for `-J bastion`, which knows all hosts by the line `bastion ca show host` prints."""
        certified = self.certified(person)
        folder = self.folder / "jumpers" / person
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in certified.folder.glob("id_ed25519*"):
            shutil.copy2(file, folder)
        client = Client(folder, port=self.bastion.port, settings=JUMPING)
        client.known_hosts.write_text(self._do("ca", "show", "host"))
        return client

    def sign_in(self, client: Client, person: str) -> str:
        """Run `ssh login@…` and sign in; stores the certificate and returns what was shown on the terminal."""
        ssh = client.popen("-T", "login@localhost")
        assert ssh.stdin and ssh.stderr
        ssh.stdin.close()
        shown = ""
        while not (code := USER_CODE.search(shown)):
            if not (line := ssh.stderr.readline()):
                raise RigError(f"no code was shown (exit status {ssh.wait()}): {shown}\n{self.bastion.log}")
            shown += line.decode()
        self.approve(code[1], person)
        ssh.stdin = None
        certificate, rest = ssh.communicate(timeout=30)
        shown += rest.decode()
        if ssh.returncode:
            raise RigError(f"sign-in failed: {shown}")
        client.certificate.write_bytes(certificate)
        return shown

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _configure(self) -> None:
        config = self.bastion.config
        if not config.exists():
            config.write_text(self._settings())
        self._do("init")  # makes the keys that are missing
        shutil.rmtree(config.with_name("targets.d"), ignore_errors=True)
        self._add(self.web_1, "Production web server", "env=production", "role=web")
        self._add(self.web_2, "Staging web server", "env=staging", "role=web")

    def _settings(self) -> str:
        return f"""\
data = {json.dumps(str(self.data))}

[server]
address = "127.0.0.1"
port = {self._ports["server"]}
drain_timeout = "1s"

[development_issuer]
port = {self._ports["development_issuer"]}
{PEOPLE_AND_POLICY}"""

    def _write_ports(self, ports: Mapping[str, int]) -> None:
        """Put *ports* into the configuration; whatever a person changed in it stays."""
        settings = self.bastion.config.read_text()
        for section, port in ports.items():
            pattern = rf"(?m)(^\[{section}\]\n(?:(?!\[).*\n)*?port = )\d+$"
            settings, count = re.subn(pattern, rf"\g<1>{port}", settings)
            if not count:
                raise RigError(f"{self.bastion.config} has no port in its section [{section}]")
        self.bastion.config.write_text(settings)

    def _add(self, target: Sshd, description: str, *labels: str) -> None:
        """Add a target as a person does: compare the fingerprint, then put on it what the command prints."""
        arguments = ["--port", str(target.port), "--description", description, "--login", "deploy"]
        arguments += [word for label in labels for word in ("--label", label)]
        printed = self._do(
            "target", "add", target.name, target.address, *arguments, "--fingerprint", target.fingerprint
        )
        target.trust_ca(*re.findall(r"^(?:ssh|ecdsa)-\S+ \S+", printed, re.MULTILINE))

    def _do(self, *arguments: str) -> str:
        """Run a `bastion` command that must succeed; returns what it printed."""
        done = self.bastion.run(*arguments)
        if done.status:
            raise RigError(f"bastion {' '.join(arguments)} ended with {done.status}: {done.errors}")
        return done.text
