"""`scripts/demo --check`: the whole story, told with the real ssh and no person, one step after the other.

Each step does what a person would and returns what was seen. The first that does not see what it must ends the story.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect

from tests.rig.openssh import Client, Finished
from tests.rig.process import RigError, wait_until
from tests.rig.world import USER_CODE, World

PROMPT = {name: f"deploy@{name}:~$ " for name in ("web-1", "web-2")}


class UnseenError(Exception):
    """A step did not see what it must."""


def must(condition: object, otherwise: str) -> None:
    """UnseenError with the words *otherwise*, unless *condition*."""
    if not condition:
        raise UnseenError(otherwise)


@dataclass
class Story:
    """What the steps share."""

    world: World
    sessions: list[dict[str, Any]] = field(default_factory=list)
    terminals: list[pexpect.spawn[str]] = field(default_factory=list)

    @property
    def alice(self) -> Client:
        return self.world.certified("alice")

    def terminal(self, client: Client, *arguments: str, **settings: Any) -> pexpect.spawn[str]:
        """A terminal with ssh in it, closed at the end of the story at the latest."""
        terminal = client.spawn(*arguments, **settings)
        self.terminals.append(terminal)
        return terminal

    def recording(self) -> dict[str, Any]:
        """The first recorded session of a terminal: the one that came from the picker."""
        return min(
            (row for row in self.sessions if row["action"] == "shell"), key=lambda row: row["started_at"]
        )


def sign_in_and_choose(story: Story) -> str:
    newcomer = story.world.client("newcomer")
    terminal = story.terminal(newcomer, "localhost", rows=24, columns=100)
    shown = ""
    while not (code := USER_CODE.search(shown)):
        terminal.expect_exact("\r\n")
        shown += f"{terminal.before}\n"
    url = re.search(r"http://\S+", shown)
    must(url, f"no address was shown:\n{shown}")
    story.world.approve(code[1], "alice")
    terminal.expect_exact("web-1")
    terminal.expect_exact("web-2")
    terminal.send("staging")
    terminal.expect_exact("web-2")
    terminal.send("\r")
    terminal.expect_exact(PROMPT["web-2"])
    return f"the address {url and url[0]} and the code {code[1]}; then the picker; a filter and Enter led on"


def resize(story: Story) -> str:
    terminal = story.terminals[0]
    terminal.setwinsize(31, 111)
    terminal.send('until [ "$(stty size)" = "31 111" ]; do sleep 0.05; done; echo re"sized"\r')
    terminal.expect_exact("resized")
    return "the session's terminal became 31 rows of 111 columns"


def back_in_the_picker(story: Story) -> str:
    terminal = story.terminals[0]
    terminal.send("exit\r")
    terminal.expect_exact("\x1b[?1049h")
    terminal.expect_exact("web-1")
    terminal.setwinsize(8, 30)
    terminal.expect_exact("\x1b[2J")
    terminal.expect_exact("web-1")
    terminal.send("\x03")
    terminal.expect(pexpect.EOF)
    terminal.close()
    must(terminal.exitstatus == 0, f"ssh ended with {terminal.exitstatus}")
    return (
        "after the session the picker again, drawn anew at 8 rows of 30 columns; Ctrl-C leaves with status 0"
    )


def certificate_by_ssh(story: Story) -> str:
    client = story.alice
    listing = subprocess.check_output(["ssh-keygen", "-L", "-f", str(client.certificate)], text=True)
    key_id = re.search(r'Key ID: "(.*)"', listing)
    valid = re.search(r"Valid: (.*)", listing)
    must(re.search(r"Principals:\s+alice\s+Critical", listing), f"principals other than alice:\n{listing}")
    return f"key id {key_id and key_id[1]}, principal alice, valid {valid and valid[1]}"


def straight_to_a_target(story: Story) -> str:
    terminal = story.terminal(story.alice, "-t", "localhost", "web-1")
    terminal.expect(r"deploy@web-1:~\$ ")
    must("http" not in str(terminal.before), f"asked to sign in again:\n{terminal.before}")
    terminal.send("exit 4\r")
    terminal.expect(pexpect.EOF)
    terminal.close()
    must(terminal.exitstatus == 4, f"exit status {terminal.exitstatus} instead of 4")
    return f"{PROMPT['web-1']}without another sign-in"


def streams_and_exit_code(story: Story) -> str:
    done = story.alice.run("web-1@localhost", "echo to-stdout; echo to-stderr >&2; exit 7")
    must(done.stdout == b"to-stdout\n", f"stdout {done.stdout!r}")
    must(done.stderr == b"to-stderr\n", f"stderr {done.stderr!r}")
    must(done.status == 7, f"exit status {done.status}")
    return "stdout, stderr and exit status 7, each in its place"


def another_login(story: Story) -> str:
    done = story.alice.run("ops@web-1@localhost", "whoami; hostname")
    must(done.text == "ops\nweb-1\n", describe(done))
    return "ops on web-1"


def a_name_that_is_no_target(story: Story) -> str:
    done = story.alice.run("-T", "nosuch@localhost")
    must(done.status != 0 and "web-1" in done.errors and "web-2" in done.errors, describe(done))
    return done.errors.strip().splitlines()[-2]


def numbered_list(story: Story) -> str:
    terminal = story.terminal(story.alice, "localhost", term="dumb")
    terminal.expect_exact("1  web-1")
    terminal.expect_exact("number or name: ")
    terminal.send("2\r")
    terminal.expect(r"deploy@web-2:~\$ ")
    terminal.send("exit\r")
    terminal.expect_exact("number or name: ")
    terminal.send("q\r")
    terminal.expect(pexpect.EOF)
    terminal.close()
    return "1 web-1, 2 web-2; number 2 led to web-2, and back to the list"


def bytes_both_ways(story: Story) -> str:
    content = os.urandom(3 << 20)
    done = story.alice.run("web-2@localhost", "cat", stdin=content)
    must(done.stdout == content, f"{len(content)} bytes went in, {len(done.stdout)} other bytes came out")
    return f"3 MiB of random bytes through cat: SHA-256 {hashlib.sha256(content).hexdigest()[:16]}… both ways"


def the_target_knows_who(story: Story) -> str:
    found: list[str] = []

    def logged() -> bool:
        found[:] = re.findall(r"Accepted certificate ID \"(.*alice.*)\" \(serial", story.world.web_1.log)
        return bool(found)

    wait_until(logged, f"alice in the log of web-1:\n{story.world.web_1.log}")
    return f"its sshd logged a certificate with key id {found[0]}"


def bastion_login(story: Story) -> str:
    world, home = story.world, story.world.folder / "home"
    home.mkdir(mode=0o700)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SSH_")} | {"HOME": str(home)}
    place, known = f"localhost:{world.bastion.port}", world.host_fingerprint()
    command = ["bastion", "login", "--no-browser", "--write-config", "--accept-host-key", known, place]
    command[0] = str(Path(sys.executable).with_name("bastion"))
    login = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert login.stderr
    shown = ""
    while not (url := re.search(r"http://\S+", shown)):
        line = login.stderr.readline()
        must(line, f"bastion login showed no address:\n{shown}")
        shown += line
    world.open_and_sign_in(url[0], "alice")
    _, rest = login.communicate(timeout=30)
    must(login.returncode == 0, f"bastion login ended with {login.returncode}:\n{shown}{rest}")
    known_hosts = f"UserKnownHostsFile={home}/.ssh/known_hosts"
    ssh = [
        "ssh",
        "-F",
        str(home / ".ssh/config"),
        "-o",
        known_hosts,
        "-o",
        "BatchMode=yes",
        "bastion",
        "web-1",
        "id -un",
    ]
    done = subprocess.run(ssh, capture_output=True, text=True, timeout=30, check=False, env=environment)
    must(done.stdout == "deploy\n", f"ssh bastion web-1 id -un: {done.stdout}{done.stderr}")
    return "signed in through the loopback page; then `ssh bastion web-1 id -un` said deploy"


def sessions(story: Story) -> str:
    done = story.world.bastion.run("sessions", "--json")
    must(done.status == 0, describe(done))
    story.sessions = json.loads(done.stdout)
    row = story.recording()
    must((row["user"], row["target"], row["login"]) == ("alice", "web-2", "deploy"), f"the first is {row}")
    must(row["ending"] == "exited", f"it ended otherwise: {row}")
    table = story.world.bastion.run("sessions")
    must(row["id"] in table.text and "alice" in table.text, describe(table))
    return f"{len(story.sessions)} sessions; {row['id']}: alice as deploy on web-2, ended: exited"


def play(story: Story) -> str:
    row = story.recording()
    command = [*story.world.bastion.command("play", "--speed", "50", row["id"])]
    terminal: pexpect.spawn[str] = pexpect.spawn(
        command[0], command[1:], dimensions=(40, 120), encoding="utf-8", codec_errors="replace", timeout=20,
        env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    story.terminals.append(terminal)
    terminal.expect_exact("deploy@web-2")
    terminal.expect_exact("resized")
    terminal.send("q")
    terminal.expect(pexpect.EOF)
    terminal.close()
    return "the prompt and the output of that session, fifty times as fast"


def asciinema(story: Story) -> str:
    program, path = Path(sys.executable).with_name("asciinema"), recording_path(story)
    done = subprocess.run([program, "cat", path], capture_output=True, text=True, timeout=30, check=False)
    must(
        done.returncode == 0 and "deploy@web-2" in done.stdout,
        f"asciinema cat: {done.stdout[-500:]}{done.stderr}",
    )
    return f"asciinema reads {path.name} and shows the same prompt"


def verify(story: Story) -> str:
    done = story.world.bastion.run("verify", story.recording()["id"])
    must(done.status == 0, describe(done))
    return (done.text or done.errors).strip().splitlines()[0]


def auditor(story: Story) -> str:
    carol, row = story.world.certified("carol"), story.recording()
    listing = carol.run("localhost", "sessions")
    must(listing.status == 0 and row["id"] in listing.text and "alice" in listing.text, describe(listing))
    terminal = story.terminal(carol, "-t", "localhost", "play", row["id"])
    terminal.expect_exact("deploy@web-2")
    terminal.send("q")
    terminal.expect(pexpect.EOF)
    terminal.close()
    refused = carol.run("web-1@localhost", "true")
    must(refused.status not in (0, 255), describe(refused))
    return "carol lists and replays alice's session over ssh, and reaches no target"


def not_an_auditor(story: Story) -> str:
    bob, row = story.world.certified("bob"), story.recording()
    must(bob.run("web-2@localhost", "whoami").text == "deploy\n", "bob cannot work on web-2")
    refusals = {
        "web-1": bob.run("web-1@localhost", "true"),
        "ops on web-2": bob.run("ops@web-2@localhost", "true"),
        "the replay of alice's session": bob.run("localhost", "play", row["id"]),
    }
    for what, done in refusals.items():
        must(done.status not in (0, 255), f"{what} was not refused: {describe(done)}")
    listing = bob.run("localhost", "sessions")
    must(listing.status == 0 and "bob" in listing.text and row["id"] not in listing.text, describe(listing))
    return f"bob sees his own session only, and was refused {', '.join(refusals)}"


def tampering(story: Story) -> str:
    path = recording_path(story)
    before = path.read_bytes()
    path.write_bytes(before.replace(b"resized", b"RESIZED", 1))
    try:
        must(path.read_bytes() != before, "nothing was changed")
        done = story.world.bastion.run("verify", story.recording()["id"])
    finally:
        path.write_bytes(before)
    must(done.status != 0, f"verify did not notice: {describe(done)}")
    again = story.world.bastion.run("verify", story.recording()["id"])
    must(again.status == 0, f"put back, it is still bad: {describe(again)}")
    return (done.errors or done.text).strip().splitlines()[0]


def crash(story: Story) -> str:
    ssh = story.alice.popen("web-1@localhost", "while :; do echo still here; sleep 0.01; done")
    assert ssh.stdout
    received = b"".join(ssh.stdout.readline() for _ in range(20))
    story.world.bastion.kill()
    received += ssh.communicate(timeout=30)[0]
    story.world.bastion.start()
    rows = json.loads(story.world.bastion.run("sessions", "--json").stdout)
    row = next((row for row in rows if row["ending"] == "interrupted"), None)
    must(row, f"no session is listed as interrupted: {rows}")
    assert row
    path = Path(row["recording"])
    done = subprocess.run(
        [Path(sys.executable).with_name("asciinema"), "cat", path],
        capture_output=True,
        timeout=30,
        check=False,
    )
    must(
        done.stdout.startswith(received), f"{len(received)} bytes were received, {len(done.stdout)} recorded"
    )
    must(story.world.bastion.run("verify", row["id"]).status == 0, "its recording does not verify")
    return (
        f"after kill -9 and a start {row['id']} is sealed as interrupted and holds the {len(received)} bytes"
    )


STEPS: tuple[tuple[str, Callable[[Story], str]], ...] = (
    ("ssh localhost: sign in by a code, choose a target", sign_in_and_choose),
    ("resize the terminal", resize),
    ("leave the session", back_in_the_picker),
    ("ssh login@localhost > cert", certificate_by_ssh),
    ("ssh -t localhost web-1", straight_to_a_target),
    ("ssh web-1@localhost COMMAND", streams_and_exit_code),
    ("ssh ops@web-1@localhost COMMAND", another_login),
    ("ssh nosuch@localhost, without a terminal", a_name_that_is_no_target),
    ("TERM=dumb ssh localhost", numbered_list),
    ("random bytes through a target", bytes_both_ways),
    ("the target's own log", the_target_knows_who),
    ("bastion login", bastion_login),
    ("bastion sessions", sessions),
    ("bastion play", play),
    ("asciinema cat", asciinema),
    ("bastion verify", verify),
    ("an auditor, over ssh", auditor),
    ("somebody who is no auditor", not_an_auditor),
    ("a recording that was changed", tampering),
    ("kill -9 in the middle of a session", crash),
)


def tell(world: World) -> bool:
    """Tell the story in *world*, which is started and stopped here; false when it does not go as it must."""
    started = time.monotonic()
    print(f"Telling the story of the demo in {len(STEPS)} steps.", flush=True)
    story = Story(world)
    try:
        with world:
            for number, (title, step) in enumerate(STEPS, start=1):
                print(f"{number:>3}. {title}", flush=True)
                print(f"     {step(story)}", flush=True)
    except (UnseenError, RigError, pexpect.ExceptionPexpect, subprocess.SubprocessError, OSError) as error:
        print(
            f"     FAILED: {_words(error, story)}\n\nThe bastion's log ends with:\n{_tail(world.bastion.log)}"
        )
        return False
    finally:
        for terminal in story.terminals:
            terminal.close(force=True)
    print(f"All {len(STEPS)} steps went as they must, in {time.monotonic() - started:.0f} s.")
    return True


def recording_path(story: Story) -> Path:
    return Path(story.recording()["recording"])


def describe(done: Finished) -> str:
    return f"exit status {done.status}, stdout {done.stdout[-500:]!r}, stderr {done.stderr[-500:]!r}"


def _words(error: Exception, story: Story) -> str:
    if not isinstance(error, pexpect.ExceptionPexpect):
        return str(error)
    sought = str(error).rpartition("searcher: ")[2].partition("\n")[2].strip()
    what = "the terminal was closed" if isinstance(error, pexpect.EOF) else "waited in vain"
    return f"{what}; looked for {sought}; the terminal showed {str(story.terminals[-1].before)[-1000:]!r}"


def _tail(log: str, lines: int = 20) -> str:
    return "\n".join(log.splitlines()[-lines:])
