"""Whole ways of working over one connection, as editors and Ansible go about it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.forwarding.tunnels import connected, forwarding, happened, read, sessions, talk
from tests.rig.openssh import Client
from tests.rig.process import free_port
from tests.rig.world import World

SERVER = """
import socketserver, sys
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"HELLO ")
        for line in self.rfile:
            self.wfile.write(line.upper())
with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
    print("listeningOn==%d==" % server.server_address[1], flush=True)
    server.serve_forever()
"""


def test_an_editor_installs_its_server_on_the_target_and_talks_to_it(
    alice: Client, world: World, short: Path
) -> None:
    """VS Code Remote-SSH: `ssh -T -D port host bash`, a script on stdin, and connections to the port it names."""
    dynamic = free_port()
    ssh = alice.popen("-T", "-D", str(dynamic), "-o", "ConnectTimeout=15", "web-1@bastion", "bash")
    assert ssh.stdin and ssh.stdout
    try:
        ssh.stdin.write(
            f"uname -s; cat > server.py <<'END'\n{SERVER}\nEND\n{sys.executable} server.py &\nSERVER=$!\n".encode()
        )
        ssh.stdin.flush()
        lines = [ssh.stdout.readline(), ssh.stdout.readline()]
        assert lines[0] == b"Linux\n"
        port = int(lines[1].split(b"==")[1])
        tunnels = [connected(dynamic) for _ in range(5)]
        for tunnel in tunnels:
            tunnel.sendall(b"\x05\x01\x00")
            assert read(tunnel, 2) == b"\x05\x00"
            tunnel.sendall(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big"))
            assert read(tunnel, 10)[1] == 0
        assert [talk(tunnel, b"tunnel\n") for tunnel in tunnels] == [b"HELLO TUNNEL\n"] * 5
        ssh.stdin.write(b"kill $SERVER; exit 4\n")
        ssh.stdin.close()
        assert ssh.wait(20) == 4
    finally:
        ssh.kill()
        ssh.wait()
        ssh.stdout.close()
    row = forwarding(world)
    assert len([event for event in happened(world, row["id"]) if event.what == "connection"]) == 5
    assert {each["action"] for each in sessions(world)[:2]} == {"exec", "forward"}


def test_a_connection_that_is_kept_carries_commands_copies_and_forwards(
    alice: Client, world: World, short: Path
) -> None:
    """ControlPersist, as Ansible uses it: each run finds the connection of the one before."""
    local, mux = free_port(), short / "mux"
    options = ["-o", f"ControlPath={mux}", "-o", "ControlMaster=auto", "-o", "ControlPersist=60s"]
    host = "deploy@web-1@bastion"
    try:
        assert alice.run(*options, host, "echo one").text == "one\n"
        done = alice.run(*options, "-L", f"{local}:localhost:{world.web_1.port}", host, "echo two")
        assert done.text == "two\n"
        with connected(local) as tunnel:
            assert read(tunnel, 4) == b"SSH-"
        (short / "file").write_text("contents")
        copied = alice.run(*options, str(short / "file"), f"{host}:copied", program="scp")
        assert copied.status == 0, copied.errors
        assert alice.run(*options, host, "cat copied").text == "contents"
    finally:
        subprocess.run(alice.command(*options, "-O", "exit", host), check=False, capture_output=True)
    row = forwarding(world)
    assert [event.facts["way"] for event in happened(world, row["id"])] == ["forward"] * 2
