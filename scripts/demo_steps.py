"""The story of `scripts/demo --check`: what a newcomer does, with the real ssh, on a bastion that has just started."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pexpect
from demo_story import Step, Story, must

from tests.rig.openssh import Finished
from tests.rig.process import wait_for_end, wait_until
from tests.rig.world import USER_CODE

BIN = Path(sys.executable).parent


def sign_in_and_choose(story: Story) -> str:
    terminal = story.keep(story.world.client("newcomer").spawn("localhost", rows=24, columns=100))
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
    terminal.expect_exact("deploy@web-2:~$ ")
    return f"the address {url and url[0]} and the code {code[1]}; then the picker; a filter and Enter led to web-2"


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
    must(ended(terminal) == 0, f"ssh ended with {terminal.exitstatus}")
    return (
        "after the session the picker again, drawn anew at 8 rows of 30 columns; Ctrl-C leaves with status 0"
    )


def certificate_by_ssh(story: Story) -> str:
    certificate = story.alice.certificate
    listing = subprocess.check_output(["ssh-keygen", "-L", "-f", str(certificate)], text=True)
    found = re.search(r'Key ID: "(.*)"[^$]*Valid: (.*)\s+Principals:\s+(.*)\s+Critical', listing)
    must(found and found[3] == "alice", f"the certificate is not alice's alone:\n{listing}")
    return f"key id {found and found[1]}, principal alice, valid {found and found[2]}"


def straight_to_a_target(story: Story) -> str:
    terminal = story.keep(story.alice.spawn("-t", "localhost", "web-1"))
    terminal.expect_exact("deploy@web-1:~$ ")
    must("http" not in str(terminal.before), f"asked to sign in again:\n{terminal.before}")
    terminal.send("exit 4\r")
    must(ended(terminal) == 4, f"exit status {terminal.exitstatus} instead of 4")
    return "the prompt deploy@web-1:~$ without another sign-in, and the exit status of its shell"


def streams_and_exit_code(story: Story) -> str:
    done = story.alice.run("web-1@localhost", "echo to-stdout; echo to-stderr >&2; exit 7")
    must((done.stdout, done.stderr, done.status) == (b"to-stdout\n", b"to-stderr\n", 7), described(done))
    return "stdout, stderr and exit status 7, each in its place"


def another_login(story: Story) -> str:
    done = story.alice.run("ops@web-1@localhost", "whoami; hostname")
    must(done.text == "ops\nweb-1\n", described(done))
    return "ops on web-1"


def jump(story: Story) -> str:
    # Port 22 is what ssh asks for where nobody names another; the rig's configuration does.
    words = ["-J", f"localhost:{story.world.bastion.port}", "-p", "22", "ops@web-1", "whoami; exit 5"]
    done = story.alice.run(*words)
    must(done.status == 5 and done.text == "ops\n", described(done))
    row = json.loads(story.world.bastion.run("sessions", "--limit", "1", "--json").stdout)[0]
    must(row["login"] == "ops" and row["exit_status"] == 5, f"the newest recording is another one: {row}")
    return f"ops on web-1 with its exit status, recorded as {row['id']}"


def a_name_that_is_no_target(story: Story) -> str:
    done = story.alice.run("-T", "nosuch@localhost")
    line = re.search(r".*web-1, web-2.*", done.errors)
    must(done.status and line, described(done))
    return line[0] if line else ""


def numbered_list(story: Story) -> str:
    terminal = story.keep(story.alice.spawn("localhost", term="dumb"))
    terminal.expect_exact("2  web-2")
    terminal.expect_exact("number or name: ")
    terminal.send("2\r")
    terminal.expect_exact("deploy@web-2:~$ ")
    terminal.send("exit\r")
    terminal.expect_exact("number or name: ")
    terminal.send("q\r")
    must(ended(terminal) == 0, f"ssh ended with {terminal.exitstatus}")
    return "1 web-1, 2 web-2; the number 2 led to web-2, and from there back to the list"


def bytes_both_ways(story: Story) -> str:
    content = os.urandom(3 << 20)
    done = story.alice.run("web-2@localhost", "cat", stdin=content)
    must(done.stdout == content, f"{len(content)} bytes went in, {len(done.stdout)} other bytes came out")
    return f"3 MiB of random bytes through cat: SHA-256 {hashlib.sha256(content).hexdigest()[:16]}… both ways"


def the_target_knows_who(story: Story) -> str:
    accepted = re.compile(r'Accepted certificate ID "(.*alice.*)" \(serial')
    wait_until(
        lambda: bool(accepted.search(story.world.web_1.log)), f"alice in its log:\n{story.world.web_1.log}"
    )
    return f"its sshd logged the key id {accepted.findall(story.world.web_1.log)[0]}"


def bastion_login(story: Story) -> str:
    world, home = story.world, story.world.folder / "home"
    home.mkdir(mode=0o700)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SSH_")} | {"HOME": str(home)}
    place = f"localhost:{world.bastion.port}"
    options = ["--no-browser", "--write-config", "--accept-host-key", world.host_fingerprint()]
    login = subprocess.Popen(
        [BIN / "bastion", "login", *options, place],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, text=True,
    )  # fmt: skip
    assert login.stderr
    shown = ""
    while not (url := re.search(r"http://\S+", shown)):
        must(line := login.stderr.readline(), f"bastion login showed no address:\n{shown}")
        shown += line
    world.open_and_sign_in(url[0], "alice")
    _, rest = login.communicate(timeout=30)
    must(login.returncode == 0, f"bastion login ended with {login.returncode}:\n{shown}{rest}")
    options = [
        "-F",
        f"{home}/.ssh/config",
        "-o",
        f"UserKnownHostsFile={home}/.ssh/known_hosts",
        "-o",
        "BatchMode=yes",
    ]
    done = program("ssh", *options, "bastion", "web-1", "whoami")
    must(done.text == "deploy\n", f"ssh bastion web-1 whoami: {described(done)}")
    return "signed in through a page of its own; then `ssh bastion web-1 whoami` said deploy"


def sessions(story: Story) -> str:
    done = story.world.bastion.run("sessions", "--json")
    must(done.status == 0, described(done))
    story.sessions = json.loads(done.stdout)
    row = story.recording
    facts = [row[name] for name in ("user", "groups", "target", "login", "ending")]
    must(facts == ["alice", ["sre"], "web-2", "deploy", "exited"], f"the first one is {row}")
    table = story.world.bastion.run("sessions")
    must(row["id"] in table.text and "alice" in table.text, described(table))
    return f"{len(story.sessions)} sessions; the first is {row['id']}: alice as deploy on web-2, exited"


def play(story: Story) -> str:
    command, *arguments = story.world.bastion.command("play", "--speed", "50", story.recording["id"])
    environment = {**os.environ, "TERM": "xterm-256color"}
    terminal = story.keep(
        pexpect.spawn(
            command, arguments, dimensions=(40, 120), env=environment, encoding="utf-8", codec_errors="replace",
            timeout=20,
        )
    )  # fmt: skip
    terminal.expect_exact("deploy@web-2")
    terminal.expect_exact("resized")
    terminal.send("q")
    must(ended(terminal) == 0, f"it ended with {terminal.exitstatus}")
    return "the prompt and the output of that session, fifty times as fast"


def asciinema(story: Story) -> str:
    done = program(BIN / "asciinema", "cat", story.recording["recording"])
    must(done.status == 0 and "deploy@web-2" in done.text, described(done))
    return f"asciinema reads {Path(story.recording['recording']).name} and shows the same prompt"


def verify(story: Story) -> str:
    done = story.world.bastion.run("verify", story.recording["id"])
    must(done.status == 0, described(done))
    return first_line(done)


def search(story: Story) -> str:
    def found() -> list[dict[str, str]]:
        return list(json.loads(story.world.bastion.run("search", "resized", "--json").stdout or "[]"))

    wait_until(lambda: bool(found()), "the text of the session in the index")
    done = story.world.bastion.run("search", "resized")
    must(done.status == 0 and story.recording["id"] in done.text, described(done))
    return f"the session that printed this line: {first_line(done)}"


def auditor(story: Story) -> str:
    carol, row = story.world.certified("carol"), story.recording
    listing = carol.run("localhost", "sessions")
    must(listing.status == 0 and row["id"] in listing.text and "alice" in listing.text, described(listing))
    terminal = story.keep(carol.spawn("-t", "localhost", "play", row["id"]))
    terminal.expect_exact("deploy@web-2")
    terminal.send("q")
    must(ended(terminal) == 0, f"it ended with {terminal.exitstatus}")
    refused = carol.run("web-1@localhost", "true")
    must(is_refused(refused), described(refused))
    return "carol lists and replays alice's session over ssh, and reaches no target"


def not_an_auditor(story: Story) -> str:
    bob, row = story.world.certified("bob"), story.recording
    must(bob.run("web-2@localhost", "whoami").text == "deploy\n", "bob cannot work on web-2")
    refusals = {
        "web-1": bob.run("web-1@localhost", "true"),
        "ops on web-2": bob.run("ops@web-2@localhost", "true"),
        "the replay of alice's session": bob.run("localhost", "play", row["id"]),
    }
    for what, done in refusals.items():
        must(is_refused(done), f"{what} was not refused: {described(done)}")
    listing = bob.run("localhost", "sessions")
    must(listing.status == 0 and "bob" in listing.text and row["id"] not in listing.text, described(listing))
    return f"bob sees his own session only, and was refused {', '.join(refusals)}"


def tampering(story: Story) -> str:
    path, name = Path(story.recording["recording"]), story.recording["id"]
    before = path.read_bytes()
    must(b"resized" in before, "the recording does not hold what was seen")
    path.write_bytes(before.replace(b"resized", b"RESIZED", 1))
    done = story.world.bastion.run("verify", name)
    path.write_bytes(before)
    must(done.status != 0, f"verify did not notice: {described(done)}")
    again = story.world.bastion.run("verify", name)
    must(again.status == 0, f"put back, it is still bad: {described(again)}")
    return first_line(done)


def crash(story: Story) -> str:
    ssh = story.alice.popen("web-1@localhost", "while :; do echo still here; sleep 0.01; done")
    assert ssh.stdout
    received = b"".join(ssh.stdout.readline() for _ in range(20))
    story.world.bastion.kill()
    received += ssh.communicate(timeout=30)[0]
    story.world.bastion.start()
    rows = json.loads(story.world.bastion.run("sessions", "--json").stdout)
    row: dict[str, str] = next((row for row in rows if row["ending"] == "interrupted"), {})
    must(row, f"no session is listed as interrupted: {rows}")
    # Where there was no terminal, lines are recorded so that one shows them.
    recorded = program(BIN / "asciinema", "cat", row["recording"]).stdout.replace(b"\r\n", b"\n")
    must(recorded.startswith(received), f"{len(received)} bytes were received, {len(recorded)} recorded")
    must(story.world.bastion.run("verify", row["id"]).status == 0, "its recording does not verify")
    return f"after kill -9 and a start {row['id']} is sealed as interrupted, with all {len(received)} bytes"


STEPS: tuple[tuple[str, Step], ...] = (
    ("ssh localhost: sign in by a code, choose a target", sign_in_and_choose),
    ("resize the terminal", resize),
    ("leave the session", back_in_the_picker),
    ("ssh login@localhost > cert", certificate_by_ssh),
    ("ssh -t localhost web-1", straight_to_a_target),
    ("ssh web-1@localhost COMMAND", streams_and_exit_code),
    ("ssh ops@web-1@localhost COMMAND", another_login),
    ("ssh -J localhost ops@web-1 COMMAND", jump),
    ("ssh nosuch@localhost, without a terminal", a_name_that_is_no_target),
    ("TERM=dumb ssh localhost", numbered_list),
    ("random bytes through a target", bytes_both_ways),
    ("the target's own log", the_target_knows_who),
    ("bastion login", bastion_login),
    ("bastion sessions", sessions),
    ("bastion play", play),
    ("asciinema cat", asciinema),
    ("bastion verify", verify),
    ("bastion search", search),
    ("an auditor, over ssh", auditor),
    ("somebody who is no auditor", not_an_auditor),
    ("a recording that was changed", tampering),
    ("kill -9 in the middle of a session", crash),
)


def program(name: str | Path, *arguments: str) -> Finished:
    """Run a program of this machine to its end."""
    done = subprocess.run(
        [name, *arguments], capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=30
    )
    return Finished(status=done.returncode, stdout=done.stdout, stderr=done.stderr)


def ended(terminal: pexpect.spawn[str]) -> int | None:
    """Wait until the program in *terminal* has ended; its exit status."""
    wait_for_end(terminal)
    terminal.close()
    return terminal.exitstatus


def is_refused(done: Finished) -> bool:
    """Whether the bastion itself said no (ssh gives 255 where it could not get as far as that)."""
    return done.status not in (0, 255) and "bastion: " in done.errors


def first_line(done: Finished) -> str:
    return (done.text or done.errors).strip().splitlines()[0]


def described(done: Finished) -> str:
    return f"exit status {done.status}, stdout {done.stdout[-500:]!r}, stderr {done.stderr[-500:]!r}"
