"""What OpenSSH itself says of a certificate."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def shown(certificate: str | bytes, folder: Path) -> dict[str, list[str]]:
    """The fields that `ssh-keygen -L` prints, each with its lines; times are in UTC."""
    file = folder / "shown-cert.pub"
    file.write_bytes(certificate.encode() if isinstance(certificate, str) else certificate)
    done = subprocess.run(
        ["ssh-keygen", "-L", "-f", str(file)],
        capture_output=True, text=True, check=True, env={**os.environ, "TZ": "UTC"},
    )  # fmt: skip
    fields: dict[str, list[str]] = {}
    name = ""
    for line in done.stdout.splitlines()[1:]:
        if line.startswith(" " * 16):
            fields[name].append(line.strip())
        else:
            name, _, value = line.strip().partition(": ")
            name = name.rstrip(":")
            fields[name] = [value] if value else []
    return fields
