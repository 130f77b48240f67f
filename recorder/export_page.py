"""A recording as one HTML page with the asciinema web player in it, that opens from a disk, without a network.

What the session wrote is hostile: it stands in the page compressed and in base64, which has no character that HTML
knows, and a policy (CSP) lets only our two scripts run, which it names by their digests, and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import html
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

from recorder.at_rest import Identity
from recorder.export import Progress, silent, told_header, write_v3
from recorder.header import Header, title_of
from recorder.reader import open_recording
from recorder.redaction import Pattern

_SHOWN_FACTS = ("user", "groups", "target", "login", "action", "command", "client", "rule")

_BOOT = """
const encoded = document.getElementById("recording").textContent;
const packed = Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
new Response(stream).text().then((data) => {
  const options = { fit: "width", idleTimeLimit: 3, preload: true, controls: true, poster: "npt:0:03" };
  AsciinemaPlayer.create({ data }, document.getElementById("player"), options);
});
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{player_style}
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }}
h1 {{ font-size: 1.2rem; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; }}
dt {{ opacity: .7; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
footer {{ font-size: .85rem; opacity: .7; }}
</style>
</head>
<body>
<h1>{title}</h1>
<div id="player"></div>
<dl>
{facts}
</dl>
<footer>{note} Played by the asciinema player (Apache-2.0).</footer>
<pre id="recording" hidden>
"""

_END = """</pre>
<script>{player}</script>
<script>{boot}</script>
</body>
</html>
"""

_NOTE = "A copy for the eye. It is no evidence: what proves the session is the recording itself, with bastion verify."
_REDACTED = "Secrets were taken out of this copy, as far as they have a known shape."


def write_page(
    path: Path,
    out: BinaryIO,
    *,
    secrets: Sequence[Pattern],
    progress: Progress = silent,
    identities: Sequence[Identity] = (),
) -> None:
    """The page. The file grows with the compressed size of the session; a browser must hold all of it."""
    player, style = _vendored("asciinema-player.min.js"), _vendored("asciinema-player.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_digest(player)} {_digest(_BOOT)} 'wasm-unsafe-eval'",  # the player's terminal is in Wasm
            "style-src 'unsafe-inline'",
            "img-src data:",
            "font-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    with open_recording(path, identities) as reader:
        header = told_header(reader, secrets=secrets)
        title = title_of(header.facts) or reader.id
        facts = "\n".join(
            f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in _facts(header, reader.id)
        )
    out.write(
        _PAGE.format(
            policy=html.escape(policy),
            title=_text(title),
            player_style=style,
            facts=facts,
            note=_text(f"{_NOTE} {_REDACTED}" if secrets else _NOTE),
        ).encode()
    )
    packed = _Packed(out)
    write_v3(path, packed, secrets=secrets, progress=progress, identities=identities)  # type: ignore[arg-type]
    packed.end()
    out.write(_END.format(player=player, boot=_BOOT).encode())


class _Packed:
    """Passes on what is written to it compressed, in lines of base64."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._packer = zlib.compressobj(wbits=31)  # gzip
        self._rest = b""

    def write(self, data: bytes) -> int:
        self._pass(self._packer.compress(data))
        return len(data)

    def end(self) -> None:
        self._pass(self._packer.flush())
        self._out.write(base64.b64encode(self._rest) + b"\n")

    def _pass(self, packed: bytes) -> None:
        packed = self._rest + packed
        whole = len(packed) - len(packed) % 57  # 76 characters a line, and no padding within
        self._rest = packed[whole:]
        for start in range(0, whole, 57):
            self._out.write(base64.b64encode(packed[start : start + 57]) + b"\n")


def _facts(header: Header, name: str) -> list[tuple[str, str]]:
    started = datetime.fromtimestamp(header.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    shown = [("session", name), ("started", started)]
    for key in _SHOWN_FACTS:
        value = header.facts.get(key, "")
        text = value if isinstance(value, str) else ", ".join(value)
        if text:
            shown.append((key, text))
    return shown


def _text(text: str) -> str:
    """*text* for HTML, without characters that cannot be seen (or turn the direction of what follows)."""
    return html.escape("".join(char if char.isprintable() else "\ufffd" for char in text))


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _vendored(name: str) -> str:
    return files("recorder").joinpath("vendor", "asciinema_player", name).read_text(encoding="utf-8")
