"""`scripts/demo`: start a bastion and its targets on loopback, say what to type next, and end all of it on Ctrl-C."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from demo_steps import STEPS
from demo_story import tell

from tests.rig.process import RigError
from tests.rig.world import World

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".demo"
PORT, ISSUER_PORT = 2222, 9400
LEAVING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description="A complete bastion on loopback.")
    parser.add_argument("--check", action="store_true", help="go through the whole story without a person")
    parser.add_argument(
        "--reset", action="store_true", help="forget the keys and recordings of earlier runs first"
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"port for ssh, or the next free one [{PORT}]")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where everything is kept [.demo]")
    options = parser.parse_args()
    for number in LEAVING:
        signal.signal(number, _leave)
    try:
        return (
            check(options.port) if options.check else run(options.folder, options.port, reset=options.reset)
        )
    except RigError as error:
        print(f"\nscripts/demo: {error}", file=sys.stderr)
        return 1


def check(port: int) -> int:
    """Tell the whole story in a folder that is gone afterwards, unless it went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="bastion-demo-"))
    is_good = tell(World(folder, port=port, issuer_port=ISSUER_PORT), STEPS)
    if is_good:
        shutil.rmtree(folder)
    else:
        print(f"What it left behind is in {folder} (log, recordings).")
    return 0 if is_good else 1


def run(folder: Path, port: int, *, reset: bool) -> int:
    """Run until Ctrl-C; returns what the bastion returned if it ends by itself."""
    with alone(folder):
        World(folder).end_leftovers()
        if reset:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        world = World(folder, port=port, issuer_port=ISSUER_PORT)
        try:
            with world:
                if world.bastion.port != port:
                    print(f"Port {port} is taken; this time it is {world.bastion.port}.")
                print(guide(world), flush=True)
                status = world.bastion.wait()
        except KeyboardInterrupt:
            print(f"\nEnded. Keys and recordings are still in {_short(folder)}; --reset forgets them.")
            return 0
        print(f"The bastion ended by itself with status {status}; its log is {world.bastion.log_file}.")
        return status or 1


def guide(world: World) -> str:
    """What to type next."""
    port = world.bastion.port
    ssh = f"ssh -p {port}"
    return f"""
A bastion runs on this machine: ssh on port {port}, the sign-in page at {world.bastion.issuer}.
Three people can sign in there, without a password:
  alice (sre)    reaches web-1 and web-2, as deploy or ops
  bob (dev)      reaches web-2, as deploy
  carol (audit)  reaches nothing, and may see everybody's recordings
So can whoever else has an account on this machine, and on the targets they work as you: run it where you are alone.

Type this in another terminal. The first time ssh asks about the host key; it is
  {world.host_fingerprint()}
(If it says that the host key has changed, an earlier demo was forgotten: ssh-keygen -R '[localhost]:{port}')

1. Sign in and choose
     {ssh} localhost                       open the address, enter the code, be alice; then choose a target

2. Get a certificate, so that the next ones open at once
     ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/bastion-demo
     {ssh} -i ~/.ssh/bastion-demo login@localhost > ~/.ssh/bastion-demo-cert.pub
   or let bastion do it: a key, a certificate and a block for ~/.ssh/config
     {_short(Path(sys.executable).with_name("bastion"))} login localhost:{port}

3. Straight to a target (with -i ~/.ssh/bastion-demo)
     {ssh} -t localhost web-1
     {ssh} web-1@localhost
     {ssh} deploy@web-1@localhost id

4. See what was recorded
     export PATH={Path(sys.executable).parent}:$PATH BASTION_CONFIG={world.bastion.config}
     bastion sessions
     bastion play ID                             space pauses, + and - change the speed, q leaves
     bastion verify ID
     asciinema play {_short(world.data / "recordings")}/…/ID.cast
   or as carol, over ssh
     {ssh} localhost sessions
     {ssh} -t localhost play ID

Log: {_short(world.bastion.log_file)}. Ctrl-C here ends everything.
"""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold *folder* for this process, or say that another demo has it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise RigError(f"another scripts/demo is running in {folder}; end that one first") from error
    finally:
        os.close(descriptor)


def _leave(number: int, frame: FrameType | None) -> None:
    for again in LEAVING:  # a second Ctrl-C must not stop us from ending what we started
        signal.signal(again, signal.SIG_IGN)
    raise KeyboardInterrupt


def _short(path: Path) -> str:
    """*path* as seen from where the demo was started, if that is shorter."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


if __name__ == "__main__":
    sys.exit(main())
