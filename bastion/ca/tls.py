"""The TLS authority: what a client of a person's own trusts when it reaches a target through the bastion.

kubectl and database drivers speak TLS with the bastion, which answers for the target with a certificate for the
target's name: made in memory, for days, over a key that is written nowhere unencrypted. P-256 throughout, which Go,
OpenSSL and old JDBC drivers all take. What stands in files are the authority's own key and, beside it, the certificate
that clients are given.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bastion.runtime.tls import load_pair
from bastion.state.ca_keys import CaKey
from bastion.state.grants import BACKDATED

ROOT_LIFETIME = timedelta(days=3650)
"""How long the certificate of an authority could be used, were its key never rotated."""

LEAF_LIFETIME = timedelta(days=7)
"""How long a certificate for a target's name is valid; from half of it on another one is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSigner:
    """A key of the authority with its private half, and the certificate that clients trust."""

    key: CaKey
    private: ec.EllipticCurvePrivateKey
    root: x509.Certificate


@dataclass(frozen=True, slots=True)
class _Context:
    context: ssl.SSLContext
    renew_at: float


class TlsAuthority:
    """Answers for targets with the *active* key, under which clients that know only an *earlier* one trust it too."""

    def __init__(self, active: TlsSigner, earlier: Sequence[TlsSigner], now: Callable[[], float]) -> None:
        self._active = active
        self._earlier = earlier
        self._now = now
        self._contexts: dict[tuple[str, ...], _Context] = {}

    @property
    def root(self) -> str:
        """The certificate to trust, in PEM."""
        return self._active.root.public_bytes(Encoding.PEM).decode()

    def server_context(self, names: Sequence[str], protocols: Sequence[str] = ()) -> ssl.SSLContext:
        """TLS as a server called *names* (the principal one first), by addresses too; *protocols* are for ALPN."""
        place = (*names, "", *protocols)
        found = self._contexts.get(place)
        if found is None or self._now() >= found.renew_at:
            renew_at = self._now() + LEAF_LIFETIME.total_seconds() / 2
            found = self._contexts[place] = _Context(self._context(names, protocols), renew_at)
        return found.context

    def _context(self, names: Sequence[str], protocols: Sequence[str]) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        now = _time(self._now())
        trusted = [signer for signer in self._earlier if signer.key.is_trusted(self._now())]
        chain = [_leaf(self._active, key, names, now), *(_bridge(self._active, old, now) for old in trusted)]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        if protocols:
            context.set_alpn_protocols(list(protocols))
        load_pair(context, key, "".join(each.public_bytes(Encoding.PEM).decode() for each in chain))
        return context


def root_certificate(key: CaKey, private: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """The certificate of the authority's *key*, signed by itself."""
    start = _time(key.created_at)
    name = _ca_name(key)
    builder = _builder(name, private.public_key(), name, start, start + ROOT_LIFETIME)
    return _as_authority(builder, path_length=1).sign(private, SHA256())


def certificate_path(private: Path) -> Path:
    """Where the certificate of an authority's key lies, beside the private half."""
    return private.with_name(f"{private.name}.crt")


def _bridge(new: TlsSigner, old: TlsSigner, now: datetime) -> x509.Certificate:
    """The new key certified by the old one, for as long as that is trusted: clients need not know the new one yet."""
    assert old.key.trusted_until is not None
    end = _time(old.key.trusted_until)
    builder = _builder(_ca_name(new.key), new.private.public_key(), _ca_name(old.key), now, end)
    builder = builder.add_extension(_authority_id(old), critical=False)
    return _as_authority(builder, path_length=0).sign(old.private, SHA256())


def _leaf(
    signer: TlsSigner, key: ec.EllipticCurvePrivateKey, names: Sequence[str], now: datetime
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    builder = _builder(subject, key.public_key(), _ca_name(signer.key), now, now + LEAF_LIFETIME)
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        .add_extension(_authority_id(signer), critical=False)
        .sign(signer.private, SHA256())
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, issuer: x509.Name, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _as_authority(builder: x509.CertificateBuilder, *, path_length: int) -> x509.CertificateBuilder:
    return builder.add_extension(
        x509.BasicConstraints(ca=True, path_length=path_length), critical=True
    ).add_extension(_usage(signs_certificates=True), critical=True)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_id(signer: TlsSigner) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.private.public_key())


def _ca_name(key: CaKey) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"bastion-tls-ca-{key.id}")])


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
