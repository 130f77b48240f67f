"""The algorithms we speak, on both legs: modern ones only, AES-GCM first because it is the fastest here.

asyncssh's own defaults still offer SHA-1 and 1024-bit groups; ssh-audit finds no fault with these sets.
"""

from __future__ import annotations

from typing import Any, Final

KEY_EXCHANGE: Final = (
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
)
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
MIN_RSA_BITS: Final = 2048


SERVER_VERSION: Final = "bastion"
"""What we say we are: no more than a client must know."""


def server_options() -> dict[str, Any]:
    """Options of every connection on which we are the server."""
    return {
        "server_version": SERVER_VERSION,
        "allow_pty": True,
        "agent_forwarding": False,
        "password_auth": False,
        **connection_options(),
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
