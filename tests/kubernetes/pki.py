"""A CA and the certificates that a cluster and those who call it need, for tests."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

CLUSTER_NAME = "prod.k8s.internal"
"""The name in the server's certificate beside the address."""


class Pki:
    """One CA; files go to *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("kubernetes")
        self._certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, SHA256())
        )
        self.ca = self._certificate.public_bytes(Encoding.PEM).decode()

    def server(self) -> tuple[Path, Path]:
        """Certificate and key of the API server."""
        names: list[x509.GeneralName] = [
            x509.DNSName("localhost"),
            x509.DNSName(CLUSTER_NAME),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        return self._issue("apiserver", x509.SubjectAlternativeName(names))

    def client(self, user: str, *groups: str) -> tuple[Path, Path]:
        """Certificate and key of somebody: CN is the user and O their groups, as Kubernetes reads it."""
        return self._issue(user, None, *groups)

    def _issue(
        self, common_name: str, names: x509.SubjectAlternativeName | None, *groups: str
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(common_name, *groups), key)
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        certificate, private = self.folder / f"{common_name}.crt", self.folder / f"{common_name}.key"
        certificate.write_bytes(builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM))
        private.touch(mode=0o600)
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, private

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )


def _name(common_name: str, *groups: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
