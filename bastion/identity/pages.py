"""The frame of every HTML page that we show a person: one look, one strict content security policy.

Text in, a response out. The frame escapes the title; whoever makes the content escapes what comes from outside. Style
and script are fixed texts that the policy names by their digests, so nothing that slipped through could run.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from html import escape

from bastion.identity.web import Response

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --dim: #5b6875; --paper: #fff; --ground: #eef1f4;
  --line: #d5dbe1; --accent: #1f6f54; --accent-ink: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --dim: #9aa7b4; --paper: #1b222a; --ground: #12171c;
  --line: #35404b; --accent: #4fb08c; --accent-ink: #0c1511; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; color: var(--ink);
  background: var(--ground); font: 16px/1.5 system-ui, sans-serif; }
main { width: 100%; max-width: 27rem; padding: 2rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: 14px; }
h1 { margin: 0 0 .5rem; font-size: 1.35rem; }
p { margin: 0 0 1rem; } small, .dim { color: var(--dim); }
.code { display: block; margin: 1rem 0; padding: .6rem; border: 1px dashed var(--line); border-radius: 10px;
  text-align: center; font: 600 1.9rem/1.3 ui-monospace, monospace; letter-spacing: .12em; }
fieldset { margin: 0 0 1rem; padding: 0; border: 0; display: grid; gap: .5rem; }
legend { padding: 0; margin-bottom: .5rem; color: var(--dim); }
label.person { display: flex; gap: .8rem; align-items: baseline; padding: .7rem .9rem; border: 1px solid var(--line);
  border-radius: 10px; cursor: pointer; }
label.person:has(:checked) { border-color: var(--accent); outline: 1px solid var(--accent); }
label.person span { display: block; }
input[type=text] { width: 100%; padding: .7rem; border: 1px solid var(--line); border-radius: 10px;
  background: transparent; color: inherit; font: 1.3rem ui-monospace, monospace; letter-spacing: .1em;
  text-transform: uppercase; }
.buttons { display: flex; gap: .6rem; margin-top: 1rem; }
button { flex: 1; padding: .75rem; border: 1px solid var(--line); border-radius: 10px; background: transparent;
  color: inherit; font: inherit; cursor: pointer; }
button.main { border-color: var(--accent); background: var(--accent); color: var(--accent-ink); font-weight: 600; }
footer { margin-top: 1.5rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .85rem;
  color: var(--dim); }
"""


def page(
    title: str,
    content: str,
    *,
    status: int = 200,
    footer: str = "",
    script: str = "",
    form_action: str = "'none'",
) -> Response:
    """A page; *content* and *footer* are HTML, *form_action* is where its forms may lead (CSP source list)."""
    allowed = _digest(script) if script else "'none'"
    policy = (
        f"default-src 'none'; style-src {_digest(_STYLE)}; script-src {allowed}; "
        f"base-uri 'none'; form-action {form_action}; frame-ancestors 'none'"
    )
    body = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>\n<h1>{escape(title)}</h1>\n{content}\n"
        f"{f'<footer>{footer}</footer>' if footer else ''}"
        f"</main>{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )
    return Response(
        status=status,
        content_type="text/html; charset=utf-8",
        body=body.encode(),
        headers={"Content-Security-Policy": policy},
    )


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
