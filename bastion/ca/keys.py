"""The private halves of the authorities' keys: files in the keys folder, each registered in the state.

A file `user-ca-3f9a0c51d2be` holds the key with the id 3f9a0c51d2be, and `….pub` beside it the line to hand out, or
`….crt` the certificate. The file is written before the key is registered: a key that is registered can sign.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import asyncssh
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from bastion.ca.tls import TlsSigner, certificate_path, root_certificate
from bastion.errors import KeyFileError
from bastion.runtime.files import create_file, make_private_folder, read_private
from bastion.state.ca_keys import AUTHORITY_NAMES, AuthorityName, CaKey, CaKeyId
from bastion.state.store import State

HOST_KEY = "host-key"
_PUBLIC = frozenset({".pub", ".crt"})


class FileSigner:
    """A signer whose key lies in a private file; read once, at the start."""

    def __init__(self, key: asyncssh.SSHKey) -> None:
        self._key = key

    @property
    def public_data(self) -> bytes:
        return self._key.public_data

    async def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, self._key.sig_algorithms[0])


def private_path(folder: Path, key: CaKey) -> Path:
    """Where the private half of *key* lies."""
    return folder / f"{key.authority}-ca-{key.id}"


def public_path(private: Path) -> Path:
    """Where the public half lies beside it, as ssh-keygen has it."""
    return private.with_name(f"{private.name}.pub")


def is_private(path: Path) -> bool:
    """Whether a file of the keys folder is one that nobody else may read."""
    return path.suffix not in _PUBLIC


def load_signer(folder: Path, key: CaKey) -> FileSigner:
    """The signer of a registered key; KeyFileError when its file is missing, open to others or another key."""
    return FileSigner(_load(folder, key))


def load_tls_signer(folder: Path, key: CaKey) -> TlsSigner:
    """The same for a key of the TLS authority, with its certificate."""
    private = _load(folder, key).pyca_key
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return TlsSigner(key=key, private=private, root=read_certificate(folder, key))


def read_certificate(folder: Path, key: CaKey) -> x509.Certificate:
    """The certificate of a key of the TLS authority."""
    path = certificate_path(private_path(folder, key))
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise KeyFileError(f"{path} holds no certificate that can be read.", hint=_replacing(key)) from error


def _replacing(key: CaKey) -> str:
    return f"Put it back from a backup, or make a new key: bastion ca rotate {key.authority}"


def _load(folder: Path, key: CaKey) -> asyncssh.SSHKey:
    path = private_path(folder, key)
    hint = _replacing(key)
    if not path.exists():
        raise KeyFileError(f"The {key.authority} CA key {path} is missing.", hint=hint)
    private = read_key(path)
    if public_line(private) != key.public:
        raise KeyFileError(f"{path} does not hold the {key.authority} CA key {key.id}.", hint=hint)
    return private


def read_key(path: Path) -> asyncssh.SSHKey:
    """The private key in a file that only we can read; KeyFileError otherwise."""
    content = read_private(path)
    try:
        return asyncssh.import_private_key(content)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise KeyFileError(f"{path} holds no private key that can be used: {error}.") from error


def generate(folder: Path, authority: AuthorityName, now: float) -> CaKey:
    """Write a new key into the keys folder and return it, ready to be registered as the active one.

    P-256 for TLS, whose clients do not all know Ed25519, which the others are.
    """
    key = asyncssh.generate_private_key("ecdsa-sha2-nistp256" if authority == "tls" else "ssh-ed25519")
    made = _described(key, authority, now)
    _write_pair(private_path(folder, made), key, f"bastion-{authority}-ca-{made.id}")
    _write_certificate(folder, made)
    return made


def remove_private(folder: Path, key: CaKey) -> None:
    """Delete the private half of a key that signs no longer; the public half stays for the record."""
    private_path(folder, key).unlink(missing_ok=True)


async def create_missing_keys(folder: Path, state: State, now: Callable[[], float]) -> list[Path]:
    """Give every authority an active key, and the bastion a host key; returns the private files that are new.

    A single key file that the state does not know (it was lost, or we were stopped halfway) is taken over instead of
    making a new one: targets may trust it already.
    """
    make_private_folder(folder)
    made: list[Path] = []
    registered = await state.ca_keys.list()
    for authority in AUTHORITY_NAMES:
        if any(key.authority == authority and key.status == "active" for key in registered):
            continue
        key = _adopted(folder, authority, {key.id for key in registered}, now())
        if key is None:
            key = generate(folder, authority, now())
            made.append(private_path(folder, key))
        _write_certificate(folder, key)
        await state.ca_keys.add_first(key)
    host_key = folder / HOST_KEY
    if not host_key.exists():
        _write_pair(host_key, asyncssh.generate_private_key("ssh-ed25519"), "bastion-host-key")
        made.append(host_key)
    return made


def public_line(key: asyncssh.SSHKey) -> str:
    """The public key as OpenSSH writes it, without a comment."""
    algorithm, data = key.export_public_key().decode().split()[:2]
    return f"{algorithm} {data}"


def _described(key: asyncssh.SSHKey, authority: AuthorityName, now: float) -> CaKey:
    return CaKey(
        id=CaKeyId(hashlib.sha256(key.public_data).hexdigest()[:12]),
        authority=authority,
        public=public_line(key),
        created_at=now,
        status="active",
    )


def _adopted(folder: Path, authority: AuthorityName, known: set[CaKeyId], now: float) -> CaKey | None:
    files = [path for path in sorted(folder.glob(f"{authority}-ca-*")) if is_private(path)]
    keys = [
        key for key in (_described(read_key(path), authority, now) for path in files) if key.id not in known
    ]
    if len(keys) > 1:
        raise KeyFileError(
            f"{folder} holds {len(keys)} {authority} CA keys that the state does not know.",
            hint=f"Leave there only the one to go on with: {', '.join(path.name for path in files)}",
        )
    return keys[0] if keys else None


def _write_pair(path: Path, key: asyncssh.SSHKey, comment: str) -> None:
    key.set_comment(comment)
    create_file(path, key.export_private_key())
    create_file(public_path(path), key.export_public_key(), mode=0o644)


def _write_certificate(folder: Path, key: CaKey) -> None:
    """Put the certificate beside a key of the TLS authority, if it is not there."""
    private = private_path(folder, key)
    path = certificate_path(private)
    if key.authority == "tls" and not path.exists():
        pyca_key = read_key(private).pyca_key
        assert isinstance(pyca_key, ec.EllipticCurvePrivateKey)
        create_file(path, root_certificate(key, pyca_key).public_bytes(Encoding.PEM), mode=0o644)
