"""Starts the certified OpenID provider from npm; its packages are installed once, into pytest's cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def installed(pytestconfig: pytest.Config) -> Path:
    """A folder with the provider's program and packages."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: the certified OpenID provider cannot run")
    lock = HERE / "package-lock.json"
    assert pytestconfig.cache is not None
    folder = pytestconfig.cache.mkdir("interop") / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    folder.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json", "provider.mjs"):
        shutil.copy(HERE / name, folder)
    if not (done := folder / "installed").exists():
        npm = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if npm.returncode:
            pytest.skip(f"npm could not install the certified OpenID provider: {npm.stderr.strip()[-300:]}")
        done.touch()
    return folder


@pytest.fixture(scope="session")
def certified(installed: Path) -> Iterator[str]:
    """The issuer URL of the running provider."""
    with (installed / "log").open("w") as log:
        process = subprocess.Popen(
            ["node", "provider.mjs"], cwd=installed, stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the provider did not start: {(installed / 'log').read_text()}"
        yield json.loads(line)["issuer"]
        process.terminate()
        process.wait(timeout=10)
