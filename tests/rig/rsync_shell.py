"""A remote shell for `rsync -e`: runs the server's command here, and writes down what both sides say, in its order.

    rsync -e "python -m tests.rig.rsync_shell LOG" … host:…

The log is lines of JSON: first the command, then pairs of who spoke and the bytes in base64. Bytes stand there before
they are passed on. With a limit behind LOG, all ends after so many bytes.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import subprocess
import sys
from pathlib import Path

PIECE = 32 * 1024


def main(log: str, host: str, *command: str) -> int:
    place, _, limit = log.partition("@")
    left = int(limit) if limit else None
    with Path(place).open("w") as written, selectors.DefaultSelector() as selector:
        written.write(json.dumps(" ".join(command)) + "\n")
        server = subprocess.Popen(
            ["/bin/sh", "-c", " ".join(command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert server.stdin is not None and server.stdout is not None
        for descriptor in (0, 1):
            os.set_blocking(descriptor, True)
        selector.register(0, selectors.EVENT_READ, ("client", server.stdin))
        selector.register(server.stdout, selectors.EVENT_READ, ("target", sys.stdout.buffer))
        while len(selector.get_map()) == 2 or server.stdout in selector.get_map():
            for key, _ in selector.select():
                side, sink = key.data
                data = os.read(key.fd, PIECE)
                if left is not None and (left := left - len(data)) < 0:
                    server.kill()
                    return 1
                written.write(json.dumps([side, base64.b64encode(data).decode()]) + "\n")
                written.flush()
                if not data:
                    selector.unregister(key.fileobj)
                try:
                    if data:
                        sink.write(data)
                        sink.flush()
                    elif side == "client":
                        sink.close()
                except BrokenPipeError:
                    selector.unregister(key.fileobj)
        return server.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
