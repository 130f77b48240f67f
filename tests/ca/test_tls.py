"""Certificates for targets' names: what clients take them for, and how long, through rotations too."""

from __future__ import annotations

import ssl
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import pytest

from bastion.ca.authorities import Authorities
from bastion.ca.keys import read_certificate
from bastion.ca.rotation import rotate
from bastion.ca.tls import LEAF_LIFETIME
from bastion.errors import KeyFileError
from bastion.state.store import State
from tests.state.samples import Clock

NAMES = ("prod-k8s", "prod-k8s.bastion.example", "localhost", "127.0.0.1", "::1")


def handshake(server: ssl.SSLContext, root: str, name: str) -> ssl.SSLObject:
    """Let a client that trusts *root* alone meet *server* and expect *name*; raises what it raises."""
    client = ssl.create_default_context(cadata=root)
    client.set_alpn_protocols(["h2", "http/1.1"])
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for end in (*ends, *ends, *ends):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert ends[0].version() is not None
    return ends[0]


@pytest.fixture
def clock() -> Clock:
    """Now, since the clients here have no other clock."""
    return Clock(time.time())


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_trusts_the_authority_takes_us_for_the_target(
    authorities: Authorities, name: str
) -> None:
    context = authorities.tls.server_context(NAMES, ("http/1.1",))
    client = handshake(context, authorities.tls.root, name)
    assert client.selected_alpn_protocol() == "http/1.1"


def test_another_name_is_refused(authorities: Authorities) -> None:
    context = authorities.tls.server_context(NAMES)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(context, authorities.tls.root, "other-k8s")


def test_openssl_finds_nothing_to_complain_about(authorities: Authorities, tmp_path: Path) -> None:
    client = handshake(authorities.tls.server_context(NAMES), authorities.tls.root, NAMES[0])
    leaf = client.getpeercert(binary_form=True)
    assert leaf is not None
    (tmp_path / "leaf.pem").write_text(ssl.DER_cert_to_PEM_cert(leaf))
    (tmp_path / "root.pem").write_text(authorities.tls.root)
    verify = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", NAMES[0]]
    done = subprocess.run(
        [*verify, "-CAfile", tmp_path / "root.pem", tmp_path / "leaf.pem"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


async def test_after_a_rotation_clients_that_know_the_old_certificate_work_until_the_overlap_is_over(
    authorities: Authorities, state: State, keys: Path, clock: Clock
) -> None:
    old = authorities.tls.root
    clock.advance(
        days=-31
    )  # clients have only the real time: the clock comes back to it when the overlap is over
    await rotate("tls", keys, state, clock, by="root", overlap=timedelta(days=32))
    clock.advance(days=31)
    await authorities.reload()
    assert authorities.tls.root != old
    for root in (old, authorities.tls.root):
        handshake(authorities.tls.server_context(NAMES), root, NAMES[0])
    clock.advance(days=1)
    await authorities.reload()
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authorities.tls.server_context(NAMES), old, NAMES[0])


async def test_without_an_overlap_only_new_clients_work(
    authorities: Authorities, state: State, keys: Path, clock: Clock
) -> None:
    old = authorities.tls.root
    await rotate("tls", keys, state, clock, by="root", overlap=timedelta(0))
    await authorities.reload()
    handshake(authorities.tls.server_context(NAMES), authorities.tls.root, NAMES[0])
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(authorities.tls.server_context(NAMES), old, NAMES[0])


def test_a_certificate_is_shown_again_until_half_of_its_life(authorities: Authorities, clock: Clock) -> None:
    tls = authorities.tls
    first = tls.server_context(NAMES)
    assert tls.server_context(NAMES) is first
    assert tls.server_context(NAMES[:1]) is not first
    clock.advance(seconds=LEAF_LIFETIME.total_seconds() / 2)
    assert tls.server_context(NAMES) is not first


async def test_a_lost_certificate_of_the_authority_is_named(state: State, keys: Path) -> None:
    (key,) = await state.ca_keys.list("tls")
    (file,) = keys.glob("*.crt")
    file.unlink()
    with pytest.raises(KeyFileError, match="holds no certificate") as refused:
        read_certificate(keys, key)
    assert "bastion ca rotate tls" in refused.value.hint
