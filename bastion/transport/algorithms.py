"""The algorithms we speak: with clients modern ones only, AES-GCM first because it is the fastest here.

asyncssh's own defaults still offer SHA-1 and 1024-bit groups; ssh-audit finds no fault with these sets. With targets we
speak what OpenSSH's client does by default, without SHA-1: how they are set up is not ours to say, and which they are
their keys prove. A target that knows nothing of the last ten years gets more, if its configuration says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import asyncssh

KEY_EXCHANGE: Final = (
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
)
POST_QUANTUM: Final = KEY_EXCHANGE[:1]
FASTEST_ENCRYPTION: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
ENCRYPTION: Final = (
    *FASTEST_ENCRYPTION,
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
)
MAC: Final = ("hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com")
SIGNATURE: Final = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
TARGET_KEY_EXCHANGE: Final = (
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group14-sha256",
)
TARGET_MAC: Final = ("hmac-sha2-512", "hmac-sha2-256")
LEGACY_KEY_EXCHANGE: Final = (
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group-exchange-sha1",
    "diffie-hellman-group1-sha1",
)
LEGACY_MAC: Final = ("hmac-sha1",)
LEGACY_SIGNATURE: Final = "ssh-rsa"
MIN_RSA_BITS: Final = 2048


SERVER_VERSION: Final = "bastion"
"""What we say we are: no more than a client must know."""


def server_options(*, post_quantum_only: bool = False) -> dict[str, Any]:
    """Options of every connection on which we are the server."""
    return {
        "server_version": SERVER_VERSION,
        "allow_pty": True,
        "agent_forwarding": False,
        "password_auth": False,
        **connection_options(),
        **({"kex_algs": list(POST_QUANTUM)} if post_quantum_only else {}),
    }


def connection_options() -> dict[str, Any]:
    """Options common to both legs. Compression is off: zlib has no limit on what it inflates to."""
    return {
        "kex_algs": list(KEY_EXCHANGE),
        "encryption_algs": list(ENCRYPTION),
        "mac_algs": list(MAC),
        "signature_algs": list(SIGNATURE),
        "compression_algs": None,
        "gss_host": None,
    }


def target_options(*, legacy: bool = False) -> dict[str, Any]:
    """Options of a connection to a target; with *legacy* also what was usual when SHA-1 was (no CBC, no DSA)."""
    options = connection_options()
    options["kex_algs"] += [*TARGET_KEY_EXCHANGE, *(LEGACY_KEY_EXCHANGE if legacy else ())]
    options["mac_algs"] += [*TARGET_MAC, *(LEGACY_MAC if legacy else ())]
    options["signature_algs"] += [LEGACY_SIGNATURE] if legacy else []
    return options


def host_key_algorithms(
    keys: Iterable[asyncssh.SSHKey], *, certified: bool = False, legacy: bool = False
) -> list[str]:
    """Signatures that a host may prove one of *keys*, or a certificate, with: never by SHA-1, unless *legacy*."""
    allowed = [*SIGNATURE, *((LEGACY_SIGNATURE,) if legacy else ())]
    certificates = (
        [f"{name}-cert-v01@openssh.com" for name in allowed if "@" not in name] if certified else []
    )
    known = {name.decode() for key in keys for name in key.sig_algorithms}
    return [*certificates, *(name for name in allowed if name in known)]
