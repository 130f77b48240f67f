"""`bastion login` as a person runs it: a real process with a home of its own, against a real SSH server."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from bastion.identity.development import DevelopmentIssuer
from bastion.identity.oidc import Provider
from tests.browser import approve_device, deny_device, refuse_sign_in, sign_in
from tests.identity.door import Door
from tests.identity.laptop import CODE, URL, Laptop


@pytest.fixture
async def laptop(provider: Provider, tmp_path: Path) -> AsyncIterator[Laptop]:
    async with Door(provider) as door:
        yield Laptop(home=tmp_path, door=door)


async def test_a_person_signs_in_through_the_browser_and_has_files_that_ssh_accepts(laptop: Laptop) -> None:
    command = await laptop.start(f"localhost:{laptop.door.port}", "--accept-host-key", laptop.fingerprint)
    page = await sign_in(await command.says(URL), "alice")
    assert "You are signed in" in page.text
    status, out, error = await command.ends()
    assert status == 0, error
    assert "as alice" in error and "not in an ssh-agent (there is none)" in error
    key, certificate = laptop.home / ".ssh/bastion-localhost", laptop.home / ".ssh/bastion-localhost-cert.pub"
    assert f"CertificateFile {certificate}" in out and f"Port {laptop.door.port}" in out
    assert [stat.S_IMODE(path.stat().st_mode) for path in (key, certificate)] == [0o600, 0o600]
    described = await _run("ssh-keygen", "-L", "-f", str(certificate))
    assert "user certificate" in described and "alice" in described
    public = (await _run("ssh-keygen", "-y", "-f", str(key))).split()[:2]
    assert asyncssh.read_certificate(str(certificate)).key.export_public_key().decode().split()[:2] == public


async def test_the_second_time_neither_the_bastion_nor_its_host_key_need_to_be_named(laptop: Laptop) -> None:
    command = await laptop.start(f"localhost:{laptop.door.port}", "--accept-host-key", laptop.fingerprint)
    await sign_in(await command.says(URL), "alice")
    assert (await command.ends())[0] == 0
    command = await laptop.start("--json")
    await sign_in(await command.says(URL), "bob")
    status, out, error = await command.ends()
    assert status == 0, error
    record = json.loads(out)
    assert (record["user"], record["port"], record["in_agent"]) == ("bob", laptop.door.port, False)


async def test_over_ssh_without_a_display_it_signs_in_by_a_code(
    laptop: Laptop, issuer: DevelopmentIssuer
) -> None:
    command = await laptop.start(
        *(f"localhost:{laptop.door.port}", "--accept-host-key", laptop.fingerprint),
        SSH_CONNECTION="203.0.113.5 50000 203.0.113.6 22",
    )
    await approve_device(issuer.url, await command.says(CODE), "alice")
    status, _, error = await command.ends()
    assert status == 0, error
    assert "only if YOU started this" in error
    assert (laptop.home / ".ssh/bastion-localhost-cert.pub").exists()


async def test_the_agent_holds_the_newest_certificate_and_no_older_one(
    laptop: Laptop, tmp_path: Path
) -> None:
    socket = str(tmp_path / "agent")
    agent = await asyncio.create_subprocess_exec(
        "ssh-agent", "-D", "-a", socket, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert agent.stdout is not None
        await agent.stdout.readline()  # it listens once it says where
        for _ in range(2):
            command = await laptop.start(
                *(f"localhost:{laptop.door.port}", "--accept-host-key", laptop.fingerprint),
                SSH_AUTH_SOCK=socket,
            )
            await sign_in(await command.says(URL), "alice")
            status, _, error = await command.ends()
            assert status == 0 and "The ssh-agent holds it" in error
        async with await asyncssh.connect_agent(socket) as client:
            kinds = sorted(key.get_algorithm() for key in await client.get_keys())
        assert kinds == ["ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com"]
    finally:
        agent.terminate()
        await agent.wait()


async def test_an_unknown_host_key_is_refused_where_nobody_can_be_asked(laptop: Laptop) -> None:
    status, _, error = await (await laptop.start(f"localhost:{laptop.door.port}")).ends()
    assert status == 255
    assert f"--accept-host-key {laptop.fingerprint}" in error
    assert not (laptop.home / ".ssh/known_hosts").exists()


async def test_a_changed_host_key_is_refused_whatever_is_accepted(laptop: Laptop) -> None:
    known_hosts = laptop.home / ".ssh/known_hosts"
    known_hosts.parent.mkdir()
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    known_hosts.write_text(f"[localhost]:{laptop.door.port} {other}")
    command = await laptop.start(f"localhost:{laptop.door.port}", "--accept-host-key", laptop.fingerprint)
    status, _, error = await command.ends()
    assert status == 255
    assert "is not the one we know" in error and "ssh-keygen -R" in error
    assert known_hosts.read_text() == f"[localhost]:{laptop.door.port} {other}"


async def test_the_key_of_another_server_on_that_host_does_not_count(laptop: Laptop) -> None:
    """OpenSSH keeps keys by host and port; a sshd on port 22 there is somebody else."""
    known_hosts = laptop.home / ".ssh/known_hosts"
    known_hosts.parent.mkdir()
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    known_hosts.write_text(f"localhost {other}")  # and no end of line
    command = await laptop.start(f"localhost:{laptop.door.port}", "--accept-host-key", laptop.fingerprint)
    await sign_in(await command.says(URL), "alice")
    status, _, error = await command.ends()
    assert status == 0, error
    assert [line.split()[0] for line in known_hosts.read_text().splitlines()] == [
        "localhost",
        f"[localhost]:{laptop.door.port}",
    ]


async def test_a_host_key_signed_by_a_known_ca_needs_no_acceptance(
    laptop: Laptop, provider: Provider
) -> None:
    ca = asyncssh.generate_private_key("ssh-ed25519")
    known_hosts = laptop.home / ".ssh/known_hosts"
    known_hosts.parent.mkdir()
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    certificate = ca.generate_host_certificate(host_key, "bastion", principals=["localhost"])
    server = await asyncssh.create_server(
        asyncssh.SSHServer, "127.0.0.1", 0, server_host_keys=[(host_key, certificate)]
    )
    port = server.get_port()
    known_hosts.write_text(f"@cert-authority [localhost]:{port} {ca.export_public_key().decode()}")
    status, _, error = await (await laptop.start(f"localhost:{port}")).ends()
    server.close()
    assert status == 255
    assert "it is probably no bastion" in error  # past the host key, and refused as login


async def test_a_person_who_denies_in_the_browser_gets_no_certificate(laptop: Laptop) -> None:
    command = await laptop.start(f"localhost:{laptop.door.port}", "--accept-host-key", laptop.fingerprint)
    page = await refuse_sign_in(await command.says(URL))
    assert "Not signed in" in page.text
    status, _, error = await command.ends()
    assert (status, "denied in the browser" in error) == (77, True)
    assert not (laptop.home / ".ssh/bastion-localhost").exists()


async def test_a_person_who_denies_the_code_gets_no_certificate(
    laptop: Laptop, issuer: DevelopmentIssuer
) -> None:
    command = await laptop.start(
        f"localhost:{laptop.door.port}", "--accept-host-key", laptop.fingerprint, "--device"
    )
    await deny_device(issuer.url, await command.says(CODE))
    status, _, error = await command.ends()
    assert (status, "denied in the browser" in error) == (77, True)
    assert not (laptop.home / ".ssh/bastion-localhost").exists()


async def test_a_certificate_for_another_key_is_not_stored(laptop: Laptop) -> None:
    laptop.door.wrong_key = True
    command = await laptop.start(f"localhost:{laptop.door.port}", "--accept-host-key", laptop.fingerprint)
    await sign_in(await command.says(URL), "alice")
    status, _, error = await command.ends()
    assert (status, "certificate for another key" in error) == (77, True)
    assert not (laptop.home / ".ssh/bastion-localhost").exists()


async def test_a_bastion_that_does_not_listen_is_named_in_one_line(laptop: Laptop) -> None:
    with_nobody = asyncssh.create_server(
        asyncssh.SSHServer, "127.0.0.1", 0, server_host_keys=[laptop.door.host_key]
    )
    server = await with_nobody
    port = server.get_port()
    server.close()
    await server.wait_closed()
    status, _, error = await (await laptop.start(f"127.0.0.1:{port}")).ends()
    assert status == 255
    assert f"the bastion [127.0.0.1]:{port} cannot be reached" in error and "Traceback" not in error


async def test_without_any_bastion_it_says_how_to_name_one(laptop: Laptop) -> None:
    status, _, error = await (await laptop.start()).ends()
    assert (status, "which bastion?" in error) == (64, True)


async def _run(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()
