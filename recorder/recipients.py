"""Public keys that recordings are encrypted to: age's own (X25519), and SSH keys of the kinds that age takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyrage import RecipientError, ssh, x25519

_AGE = "age1"
_SSH = ("ssh-ed25519", "ssh-rsa")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipients:
    """Whom to encrypt to: the keys, and the same as *names*, without comments."""

    names: tuple[str, ...]
    keys: Sequence[x25519.Recipient | ssh.Recipient]

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Recipients | None:
        """The recipients that *texts* name; None if there are none. ValueError as in `name_of`."""
        names = tuple(dict.fromkeys(name_of(text) for text in texts))
        return cls(names=names, keys=[_key(name) for name in names]) if names else None


def name_of(text: str) -> str:
    """A recipient as `age -r` takes it, without what follows the key; ValueError says why *text* is none."""
    words = text.split()
    if "PRIVATE KEY" in text or "AGE-SECRET-KEY-" in text.upper():
        raise ValueError("this is a private key: put the public one here, and treat this one as lost")
    is_ssh = bool(words) and words[0] in _SSH
    if words and not is_ssh and not words[0].startswith(_AGE):
        raise ValueError(
            "write a public key of age (age1…, as age-keygen -y prints it) or an SSH key of the kind ssh-ed25519 or"
            " ssh-rsa; age knows no others"
        )
    rest = words[2:] if is_ssh else words[1:]
    if not words or (rest and not is_ssh) or any(word.startswith((_AGE, *_SSH)) for word in rest):
        raise ValueError("write one public key, and each in quotes of its own")
    name = " ".join(words[:2]) if is_ssh else words[0]
    try:
        _key(name)
    except RecipientError as error:
        raise ValueError(f"this is not a public key that recordings can be encrypted to ({error})") from None
    return name


def _key(name: str) -> x25519.Recipient | ssh.Recipient:
    return x25519.Recipient.from_str(name) if name.startswith(_AGE) else ssh.Recipient.from_str(name)
