"""The authorities as the server uses them: trust, issue, sign onward, show who the bastion is.

Holds the signers in memory and follows what the state says about the keys: whoever runs a server calls `reload` when
`State.changed` says so, and when `due_at` has come. Rotation happens in any process, mostly an operator's command.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import asyncssh

from bastion.ca.certificates import Fields, Kind, Permit, Signer, check_subject_key, sign_certificate
from bastion.ca.host import HostIdentity, host_identity
from bastion.ca.keys import load_signer, load_tls_signer, private_path
from bastion.ca.lines import long_name
from bastion.ca.rotation import retire_expired
from bastion.ca.tls import TlsAuthority
from bastion.config.model import Certificates
from bastion.errors import KeyFileError
from bastion.state.ca_keys import AUTHORITY_NAMES, CaKey, CaKeyId
from bastion.state.grants import BACKDATED, Grant, RotatedKeyError
from bastion.state.store import State

TERMINAL: frozenset[Permit] = frozenset({"permit-pty"})
"""What every certificate permits."""
ATTEMPTS = 3
"""How often issuing begins anew because a rotation came between."""


class Authorities:
    """The user, target, host and TLS authority over one keys folder; made by `open`."""

    def __init__(
        self,
        keys_folder: Path,
        state: State,
        settings: Certificates,
        public_name: str,
        now: Callable[[], float],
    ) -> None:
        self._folder = keys_folder
        self._state = state
        self._settings = settings
        self._public_name = public_name
        self._now = now
        self._keys: list[CaKey] = []
        self._signers: dict[CaKeyId, Signer] = {}
        self._trusted_user_keys: dict[bytes, CaKey] = {}
        self._host: HostIdentity | None = None
        self._tls: TlsAuthority | None = None
        self._target_hosts: dict[str, HostIdentity] = {}

    @classmethod
    async def open(
        cls,
        keys_folder: Path,
        state: State,
        settings: Certificates,
        public_name: str,
        now: Callable[[], float],
    ) -> Authorities:
        """Load the keys; KeyFileError when one is missing (`create_missing_keys` makes them) or open to others."""
        authorities = cls(keys_folder, state, settings, public_name, now)
        await authorities.reload()
        return authorities

    async def reload(self) -> None:
        """Do what is due: follow rotations, let go of keys whose trust has run out, renew the host certificate."""
        await retire_expired(self._folder, self._state)
        keys = await self._state.ca_keys.list()
        signers = {
            key.id: self._signers.get(key.id) or load_signer(self._folder, key)
            for key in keys
            if _can_sign(key, self._folder)
        }
        active = {key.authority: signers[key.id] for key in keys if key.status == "active"}
        for authority in AUTHORITY_NAMES:
            if authority not in active:
                raise KeyFileError(f"There is no {authority} CA key yet.", hint="Run `bastion init` first.")
        host = await host_identity(
            self._folder,
            (self._public_name,),
            [key for key in keys if key.authority == "host"],
            active["host"],
            self._settings.host_lifetime,
            self._now(),
        )
        tls = [
            load_tls_signer(self._folder, key) for key in keys if key.authority == "tls" and key.id in signers
        ]
        (active_tls,) = [signer for signer in tls if signer.key.status == "active"]
        earlier_tls = [signer for signer in tls if signer is not active_tls]
        self._keys, self._signers, self._host = keys, signers, host
        self._tls = TlsAuthority(active_tls, earlier_tls, self._now)
        self._target_hosts = {}
        self._trusted_user_keys = {
            asyncssh.import_public_key(key.public).public_data: key for key in keys if key.authority == "user"
        }

    @property
    def due_at(self) -> float:
        """When `reload` has something to do though nobody changed anything, in Unix seconds."""
        ends = [key.trusted_until for key in self._keys if key.status == "trusted" and key.trusted_until]
        return min([self._presented.renew_at, *ends])

    def trusts_user_ca(self, public_key_blob: bytes) -> bool:
        """Whether certificates signed by this key (an SSH public key blob) may let people in."""
        key = self._trusted_user_keys.get(public_key_blob)
        return key is not None and key.is_trusted(self._now())

    def host_identity(self) -> list[tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]]:
        """Host key and host certificate as asyncssh's *server_host_keys* takes them; others after a `reload`."""
        return [(self._presented.key, self._presented.certificate)]

    async def host_identity_for(self, target: str) -> list[tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]]:
        """The same for a client that jumps to *target*: the certificate is for its short and its long name."""
        identity = self._target_hosts.get(target)
        if identity is None or self._now() >= identity.renew_at:
            host_keys = [key for key in self._keys if key.authority == "host"]
            active = next(key for key in host_keys if key.status == "active")
            identity = self._target_hosts[target] = await host_identity(
                self._folder,
                (target, long_name(target, self._public_name)),
                host_keys,
                self._signers[active.id],
                self._settings.host_lifetime,
                self._now(),
                target=target,
            )
        return [(identity.key, identity.certificate)]

    async def issue(
        self,
        public_key: asyncssh.SSHKey,
        grant: Grant,
        permits: frozenset[Permit] = TERMINAL,
    ) -> tuple[str, Grant]:
        """Store *grant*, then sign its certificate: the line for a `…-cert.pub` file, and the grant as stored.

        Raises SignInError for a key that is too weak, StateError when the grant cannot be stored; nothing is signed
        then.
        """
        check_subject_key(public_key)
        signer, grant = await self._store(replace(grant, key_fingerprint=public_key.get_fingerprint()))
        fields = Fields(
            kind=Kind.USER,
            public_key=public_key,
            serial=grant.serial,
            key_id=grant.key_id,
            principals=(grant.user,),
            valid_after=grant.valid_after,
            valid_before=grant.valid_before,
            permits=permits,
        )
        certificate = await sign_certificate(fields, signer)
        return certificate.export_certificate().decode().strip(), grant

    async def onward(
        self, login: str, key_id: str, *, serial: int = 0, permits: frozenset[Permit] = TERMINAL
    ) -> list[tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]]:
        """A new key pair for one onward session, with a certificate of minutes under each trusted target CA key.

        The newest key's comes first; older ones are for targets that were not told of it yet. *key_id* and *serial*
        are what the target's sshd logs.
        """
        key, now = asyncssh.generate_private_key("ssh-ed25519"), self._now()
        fields = Fields(
            kind=Kind.USER,
            public_key=key,
            serial=serial,
            key_id=key_id,
            principals=(login,),
            valid_after=int(now - BACKDATED.total_seconds()),
            valid_before=int(now + self._settings.onward_lifetime.total_seconds()),
            permits=permits,
        )
        signers = [
            signer
            for ca in self._keys
            if ca.authority == "target" and ca.is_trusted(now) and (signer := self._signers.get(ca.id))
        ]
        return [(key, await sign_certificate(fields, signer)) for signer in signers]

    @property
    def tls(self) -> TlsAuthority:
        """Who vouches for the bastion where it answers for a target in TLS; another one after a `reload`."""
        assert self._tls is not None, "made by open()"
        return self._tls

    @property
    def _presented(self) -> HostIdentity:
        assert self._host is not None, "made by open()"
        return self._host

    async def _store(self, grant: Grant) -> tuple[Signer, Grant]:
        """Store the grant with the active user key, which a command may have rotated since the last reload."""
        for attempt in range(ATTEMPTS):
            active = next(key for key in self._keys if key.authority == "user" and key.status == "active")
            stored = replace(grant, ca_key_id=active.id)
            try:
                await self._state.grants.insert(stored)
            except RotatedKeyError:
                if attempt == ATTEMPTS - 1:
                    raise
                await self.reload()
            else:
                return self._signers[active.id], stored
        raise AssertionError("the last attempt returns or raises")


def _can_sign(key: CaKey, folder: Path) -> bool:
    """Active keys sign, and must be there; some that were replaced sign as long as they are trusted."""
    if key.status == "active":
        return True
    return (
        key.authority in ("target", "tls") and key.status == "trusted" and private_path(folder, key).exists()
    )
