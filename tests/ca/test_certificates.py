"""Certificates as OpenSSH, asyncssh and cryptography read them, and the fields that are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest
from asyncssh.packet import String, UInt32, UInt64
from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

from bastion.ca.certificates import Fields, Kind, check_subject_key, sign_certificate
from bastion.ca.keys import FileSigner
from bastion.errors import SignInError
from tests.ca.openssh import shown

CA = asyncssh.generate_private_key("ssh-ed25519")
ALICE = asyncssh.generate_private_key("ssh-ed25519")


def fields(**changes: object) -> Fields:
    plain = Fields(
        kind=Kind.USER,
        public_key=ALICE,
        serial=0x1F,
        key_id="u:alice/s:1f/i:corp",
        principals=("alice",),
        valid_after=1_800_000_000,
        valid_before=1_800_028_800,
        permits=frozenset({"permit-pty"}),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def security_key() -> asyncssh.SSHKey:
    """The public half of a FIDO key; no device is needed to certify one."""
    point = ALICE.public_data[-32:]
    blob = String("sk-ssh-ed25519@openssh.com") + String(point) + String("ssh:")
    return asyncssh.public_key.decode_ssh_public_key(blob)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (ALICE, "ssh-ed25519-cert-v01@openssh.com"),
        (asyncssh.generate_private_key("ecdsa-sha2-nistp256"), "ecdsa-sha2-nistp256-cert-v01@openssh.com"),
        (asyncssh.generate_private_key("ssh-rsa", key_size=2048), "ssh-rsa-cert-v01@openssh.com"),
        (security_key(), "sk-ssh-ed25519-cert-v01@openssh.com"),
    ],
    ids=["ed25519", "ecdsa", "rsa", "security key"],
)
async def test_openssh_reads_every_field_for_every_kind_of_key(
    key: asyncssh.SSHKey, kind: str, tmp_path: Path
) -> None:
    check_subject_key(key)
    certificate = await sign_certificate(fields(public_key=key), FileSigner(CA))
    found = shown(certificate.export_certificate(), tmp_path)
    assert found.pop("Public key")[0].endswith(key.get_fingerprint())
    assert found == {
        "Type": [f"{kind} user certificate"],
        "Signing CA": [f"ED25519 {CA.get_fingerprint()} (using ssh-ed25519)"],
        "Key ID": ['"u:alice/s:1f/i:corp"'],
        "Serial": ["31"],
        "Valid": ["from 2027-01-15T08:00:00 to 2027-01-15T16:00:00"],
        "Principals": ["alice"],
        "Critical Options": ["(none)"],
        "Extensions": ["permit-pty"],
    }


async def test_extensions_stand_in_lexical_order_as_the_protocol_demands() -> None:
    both = fields(permits=frozenset({"permit-pty", "permit-port-forwarding"}))
    certificate = await sign_certificate(both, FileSigner(CA))
    names = [b"permit-port-forwarding", b"permit-pty"]
    positions = [certificate.public_data.index(name) for name in names]
    assert positions == sorted(positions)


async def test_it_is_what_asyncssh_would_have_signed() -> None:
    """A canary for asyncssh's encoders: apart from nonce and signature not a byte differs."""
    ours = await sign_certificate(fields(), FileSigner(CA))
    theirs = CA.generate_user_certificate(
        ALICE,
        "u:alice/s:1f/i:corp",
        serial=0x1F,
        principals=["alice"],
        valid_after=1_800_000_000,
        valid_before=1_800_028_800,
        permit_x11_forwarding=False,
        permit_agent_forwarding=False,
        permit_port_forwarding=False,
        permit_user_rc=False,
    )
    signature = len(String(CA.sign(b"", b"ssh-ed25519")))
    nonce = slice(len(String(ours.algorithm)) + 4, len(String(ours.algorithm)) + 4 + 32)

    def body(certificate: asyncssh.SSHCertificate) -> bytes:
        data = bytearray(certificate.public_data[:-signature])
        data[nonce] = bytes(32)
        return bytes(data)

    assert body(ours) == body(theirs)
    assert ours.public_data[nonce] != theirs.public_data[nonce]


async def test_cryptography_finds_the_signature_good() -> None:
    certificate = await sign_certificate(fields(), FileSigner(CA))
    read = load_ssh_public_identity(certificate.export_certificate())
    assert isinstance(read, SSHCertificate)
    read.verify_cert_signature()
    assert (read.serial, read.valid_principals) == (0x1F, [b"alice"])


async def test_a_signer_gone_wrong_gives_no_certificate() -> None:
    class Liar(FileSigner):
        async def sign(self, data: bytes) -> bytes:
            return await super().sign(data + b"!")

    with pytest.raises(asyncssh.KeyImportError, match="Invalid OpenSSH certificate"):
        await sign_certificate(fields(), Liar(CA))


@pytest.mark.parametrize(
    "changes",
    [
        {"principals": ()},
        {"principals": ("",)},
        {"principals": ("alice,root",)},
        {"principals": ("alice\n",)},
        {"principals": ("*",)},
        {"principals": ("alice", "a b")},
        {"key_id": ""},
        {"key_id": "u:alice\nAccepted publickey for root"},
        {"key_id": "\x1b[2J"},
        {"key_id": "x" * 257},
        {"valid_after": 1_800_028_800},
        {"valid_before": (1 << 64) - 1},
        {"valid_after": -1},
    ],
    ids=str,
)
async def test_fields_that_would_make_a_dangerous_certificate_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"certificate|principal|key id"):
        await sign_certificate(fields(**changes), FileSigner(CA))


def test_weak_and_outdated_keys_get_no_certificate() -> None:
    with pytest.raises(SignInError, match="1024 bits; at least 2048"):
        check_subject_key(asyncssh.generate_private_key("ssh-rsa", key_size=1024))
    with pytest.raises(SignInError, match="type ssh-dss are not certified"):
        check_subject_key(asyncssh.generate_private_key("ssh-dss"))


def test_the_encoders_of_asyncssh_are_those_of_rfc_4251() -> None:
    """They are importable, but not in asyncssh's documented interface."""
    assert String("é") == b"\x00\x00\x00\x02\xc3\xa9"
    assert String(b"") == bytes(4)
    assert UInt32(1) == b"\x00\x00\x00\x01"
    assert UInt64(1 << 63) == b"\x80" + bytes(7)
