"""Private keys for the ssl module, which takes them from files only."""

from __future__ import annotations

import os
import ssl
import tempfile

from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat


def load_pair(context: ssl.SSLContext, key: PrivateKeyTypes, chain: str) -> None:
    """Have *context* show *chain* (PEM), whose first certificate is *key*'s. Raises ssl.SSLError if it is not.

    The key in the file is encrypted, with a password that nothing but this call knows.
    """
    password = os.urandom(32).hex().encode()
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
    with tempfile.NamedTemporaryFile() as file:
        file.write(content + chain.encode())
        file.flush()
        context.load_cert_chain(file.name, password=password)
