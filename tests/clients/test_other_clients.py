"""The clients of others: each runs a command with input and tells streams and status apart; those that can copy, copy.

Keys and certificates are of OpenSSH's form. Those that know no certificates sign in by the code in the terminal.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import asyncssh
import pexpect
import pytest

from tests.clients.conftest import CLIENTS, Way, need
from tests.rig.openssh import Client
from tests.rig.process import wait_for_end
from tests.rig.world import World
from tests.server.recorded import rows, streams

COMMAND = "cat; echo err >&2; exit 7"
GIVEN = bytes(range(256)) * 1000


@pytest.fixture
def alice(world: World) -> Client:
    return world.certified("alice")


def check_recorded(world: World) -> None:
    session = rows(world)[0]
    assert (session["user"], session["target"], session["exit_status"]) == ("alice", "web-1", 7)
    recorded = streams(world.recordings[-1])
    assert (recorded.input, recorded.output, recorded.error) == (GIVEN, GIVEN, b"err\n")


async def test_asyncssh(alice: Client, world: World) -> None:
    async with asyncssh.connect(
        "localhost", alice.port, username="web-1", known_hosts=str(alice.known_hosts),
        client_keys=[(str(alice.key), str(alice.certificate))], agent_path=None, config=None,
    ) as connection:  # fmt: skip
        done = await connection.run(COMMAND, input=GIVEN, encoding=None)
    assert (done.exit_status, done.stdout, done.stderr) == (7, GIVEN, b"err\n")
    check_recorded(world)


async def test_asyncssh_through_a_jump(world: World) -> None:
    alice = world.jumper("alice")
    keys = [(str(alice.key), str(alice.certificate))]
    options = {"known_hosts": str(alice.known_hosts), "agent_path": None, "config": None, "client_keys": keys}
    async with (
        asyncssh.connect("localhost", alice.port, username="alice", **options) as outer,
        outer.connect_ssh("web-1", username="deploy", **options) as inner,
    ):
        done = await inner.run(COMMAND, input=GIVEN, encoding=None)
        assert (done.exit_status, done.stdout, done.stderr) == (7, GIVEN, b"err\n")
        async with inner.start_sftp_client() as sftp:
            await sftp.mkdir("from asyncssh")
            assert "from asyncssh" in await sftp.listdir(".")


def _need_module(name: str) -> None:
    done = subprocess.run([CLIENTS / "bin/python", "-c", f"import {name}"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"{name} is not here; scripts/clients installs it")


PARAMIKO = """
import json, sys, paramiko
port, key, certificate, known_hosts, given = sys.argv[1:]
client = paramiko.SSHClient()
client.load_host_keys(known_hosts)
identity = paramiko.Ed25519Key.from_private_key_file(key)
identity.load_certificate(certificate)
client.connect("localhost", int(port), "web-1", pkey=identity, allow_agent=False, look_for_keys=False)
stdin, stdout, stderr = client.exec_command("cat; echo err >&2; exit 7")
stdin.write(open(given, "rb").read())
stdin.channel.shutdown_write()
out, err, status = stdout.read(), stderr.read(), stdout.channel.recv_exit_status()
sftp = client.open_sftp()
sftp.put(given, "from paramiko")
sftp.get("from paramiko", given + ".back")
through = client.get_transport().open_channel("direct-tcpip", ("web-1", 22), ("127.0.0.1", 0))
inner = paramiko.SSHClient()
inner.load_host_keys(known_hosts)
inner.set_missing_host_key_policy(paramiko.AutoAddPolicy())  # it knows no @cert-authority
inner.connect("web-1", username="deploy", sock=through, pkey=identity, allow_agent=False, look_for_keys=False)
err += inner.exec_command("hostname")[1].read()
inner.close()
client.close()
json.dump([status, out == open(given, "rb").read() == open(given + ".back", "rb").read(), err.decode()], sys.stdout)
"""


def test_paramiko(alice: Client, world: World, tmp_path: Path) -> None:
    _need_module("paramiko")
    given = tmp_path / "given"
    given.write_bytes(GIVEN)
    arguments: list[str | Path] = [str(alice.port), alice.key, alice.certificate, alice.known_hosts, given]
    done = subprocess.run(
        [CLIENTS / "bin/python", "-c", PARAMIKO, *arguments], capture_output=True, timeout=40, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == [7, True, "err\nweb-1\n"]
    assert (world.web_1.home("deploy") / "from paramiko").read_bytes() == GIVEN


LIBSSH2 = """
import json, socket, sys
from ssh2.session import Session
port, key, certificate, given = sys.argv[1:]
session = Session()
session.handshake(socket.create_connection(("localhost", int(port))))
session.userauth_publickey_fromfile("web-1", key, "", certificate)
channel = session.open_session()
channel.execute("cat; echo err >&2; exit 7")
sent, back = open(given, "rb").read(), [b"", b""]
for at in range(0, len(sent), 8192):
    channel.write(sent[at : at + 8192])
    if at >= 16384:  # what has come back makes room
        back[0] += channel.read(8192)[1]
channel.send_eof()
for number, read in enumerate((channel.read, channel.read_stderr)):
    while (piece := read(65536))[0] > 0:
        back[number] += piece[1]
channel.wait_eof()
channel.close()
channel.wait_closed()
json.dump([channel.get_exit_status(), back[0] == sent, back[1].decode()], sys.stdout)
"""


def test_libssh2(alice: Client, world: World, tmp_path: Path) -> None:
    _need_module("ssh2.session")
    given = tmp_path / "given"
    given.write_bytes(GIVEN)
    arguments: list[str | Path] = [str(alice.port), alice.key, alice.certificate, given]
    done = subprocess.run(
        [CLIENTS / "bin/python", "-c", LIBSSH2, *arguments], capture_output=True, timeout=40, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == [7, True, "err\n"]
    check_recorded(world)


SSH2 = """
const { Client } = require('ssh2'), fs = require('fs');
const { spawn } = require('child_process'), { Duplex } = require('stream');
const [given, ...proxy] = process.argv.slice(2);
const child = spawn(proxy[0], proxy.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
const client = new Client();
client.on('ready', () => client.exec('cat; echo err >&2; exit 7', (error, stream) => {
  if (error) throw error;
  let out = [], err = '';
  stream.on('data', data => out.push(data));
  stream.stderr.on('data', data => err += data);
  stream.on('close', status => client.sftp((error, sftp) => {
    if (error) throw error;
    sftp.fastPut(given, 'from node', error => {
      if (error) throw error;
      console.log(JSON.stringify([status, Buffer.concat(out).equals(fs.readFileSync(given)), err]));
      client.end();
      child.kill();
    });
  }));
  stream.end(fs.readFileSync(given));
}));
client.connect({ sock: Duplex.from({ readable: child.stdout, writable: child.stdin }), username: 'deploy' });
"""


def test_node_ssh2(world: World, tmp_path: Path) -> None:
    """It knows no certificates, and shows no text that asks for nothing: it comes by `ssh -W`, as a ProxyCommand."""
    node, script, given = need("node"), tmp_path / "client.cjs", tmp_path / "given"
    if not (CLIENTS / "node_modules/ssh2").is_dir():
        pytest.skip("ssh2 is not here; scripts/clients installs it")
    script.write_text(SSH2)
    given.write_bytes(GIVEN)
    done = subprocess.run(
        [node, script, given, *world.jumper("alice").command("-W", "web-1:22", "bastion")],
        capture_output=True, timeout=40, check=False,
        env={**os.environ, "NODE_PATH": str(CLIENTS / "node_modules")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == [7, True, "err\n"]
    assert (world.web_1.home("deploy") / "from node").read_bytes() == GIVEN


def by_code(world: World, program: str, *arguments: str, home: Path) -> tuple[int | None, str]:
    """Run *program* in a terminal, sign alice in by the code it shows, and return its status and what it showed."""
    child = pexpect.spawn(
        program, list(arguments), env={**os.environ, "HOME": str(home)}, encoding="utf-8", timeout=30,
        dimensions=(40, 120),
    )  # fmt: skip
    child.expect(re.compile(r"[A-Z]{4}-[A-Z]{4}"))
    world.approve(str(child.after), "alice")
    wait_for_end(child)
    child.close()
    return child.exitstatus, str(child.before)


def test_dbclient(world: World, tmp_path: Path) -> None:
    """Its keys are bare ones: alice signs in by the code that it shows."""
    dbclient = need("dbclient")
    status, shown = by_code(
        world, dbclient, "-y", "-y", "-p", str(world.bastion.port), "web-1@localhost", "hostname; exit 7",
        home=tmp_path,
    )  # fmt: skip
    assert (status, "web-1" in shown) == (7, True), shown


def test_dbclient_through_a_jump(world: World, tmp_path: Path) -> None:
    """It calls itself for each hop, with -B, which is its -W."""
    hops = f"x@localhost/{world.bastion.port},deploy@web-1/22"
    status, shown = by_code(world, need("dbclient"), "-y", "-y", hops, "hostname; exit 7", home=tmp_path)
    assert (status, "web-1" in shown) == (7, True), shown


def test_plink(world: World, tmp_path: Path) -> None:
    plink = need("plink")
    status, shown = by_code(
        world, plink, "-no-antispoof", "-ssh", "-hostkey", world.host_fingerprint(), "-P", str(world.bastion.port),
        "web-1@localhost", "hostname; exit 7", home=tmp_path,
    )  # fmt: skip
    assert (status, "web-1" in shown) == (7, True), shown


def test_plink_with_a_certificate(alice: Client, world: World, tmp_path: Path) -> None:
    """PuTTY keeps key and certificate in a file of its own form; puttygen makes it of OpenSSH's."""
    plink, puttygen, key = need("plink"), need("puttygen"), tmp_path / "alice.ppk"
    subprocess.run(
        [puttygen, alice.key, "--certificate", alice.certificate, "-O", "private", "-o", key],
        check=True,
        timeout=20,
    )
    done = subprocess.run(
        [
            plink, "-batch", "-ssh", "-hostkey", world.host_fingerprint(), "-P", str(world.bastion.port), "-i", key,
            "web-1@localhost", COMMAND,
        ],
        input=GIVEN, capture_output=True, timeout=30, check=False, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (7, GIVEN, b"err\n")
    check_recorded(world)


@pytest.mark.parametrize("protocol", ["-sftp", "-scp"])
def test_pscp(world: World, tmp_path: Path, protocol: str) -> None:
    pscp, source = need("pscp"), tmp_path / "source"
    source.write_bytes(GIVEN)
    status, shown = by_code(
        world, pscp, protocol, "-hostkey", world.host_fingerprint(), "-P", str(world.bastion.port),
        str(source), "web-1@localhost:from-pscp", home=tmp_path,
    )  # fmt: skip
    assert status == 0, shown
    assert (world.web_1.home("deploy") / "from-pscp").read_bytes() == GIVEN


def test_ansible_over_one_connection_that_is_kept(way: Way, world: World, tmp_path: Path) -> None:
    ansible = need("ansible-playbook")
    (tmp_path / "ansible.cfg").write_text(
        f"[ssh_connection]\npipelining = True\nssh_args = -F {way.client.config} {' '.join(way.options)}"
        f" -o ControlMaster=auto -o ControlPersist=20 -o ControlPath={tmp_path}/mux\n"
    )
    login, _, host = way.host.rpartition("@")
    (tmp_path / "inventory").write_text(
        f"target ansible_host={host} ansible_user={login} ansible_python_interpreter={sys.executable}\n"
    )
    (tmp_path / "source").write_bytes(GIVEN)
    (tmp_path / "play.yml").write_text(f"""\
- hosts: all
  gather_facts: false
  tasks:
    - {{ command: hostname, register: answer }}
    - {{ copy: {{ src: {tmp_path}/source, dest: from-ansible }} }}
    - {{ assert: {{ that: answer.stdout == "web-1" }} }}
""")
    before = len(rows(world))
    done = subprocess.run(
        [ansible, "-i", "inventory", "play.yml"], cwd=tmp_path, capture_output=True, timeout=60, check=False,
        env={**os.environ, "HOME": str(tmp_path), "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"), "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    way.client.run("-S", f"{tmp_path}/mux", "-O", "exit", way.host)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    assert (world.web_1.home("deploy") / "from-ansible").read_bytes() == GIVEN
    assert len(rows(world)) > before


def test_sshfs(way: Way, world: World, tmp_path: Path) -> None:
    sshfs, mount = need("sshfs"), tmp_path / "mount"
    mount.mkdir()
    words = [sshfs, "-F", str(way.client.config), *(["-o", "ProxyJump=bastion"] if way.options else [])]
    done = subprocess.run([*words, f"{way.host}:", str(mount)], capture_output=True, timeout=30, check=False)
    if b"fuse" in done.stderr:
        pytest.skip(f"FUSE does not work here: {done.stderr.decode().strip()}")
    assert done.returncode == 0, done.stderr
    try:
        (mount / "from sshfs").write_bytes(GIVEN)
        assert (world.web_1.home("deploy") / "from sshfs").read_bytes() == GIVEN
    finally:
        subprocess.run(["fusermount3", "-u", str(mount)], check=True)
