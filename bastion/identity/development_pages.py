"""The pages of the development issuer: plain HTML forms that work without JavaScript.

Text in, bytes out. Whatever comes from outside goes through `escape`; style and script are fixed texts that the
content security policy names by their digests, so nothing that slipped through could run.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from html import escape

from bastion.config.model import DevelopmentPerson
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

_SCRIPT = """
const left = document.getElementById("left");
if (left) {
  const end = Date.now() + 1000 * Number(left.textContent);
  const timer = setInterval(() => {
    const seconds = Math.max(0, Math.round((end - Date.now()) / 1000));
    left.textContent = seconds;
    if (!seconds) {
      clearInterval(timer);
      for (const button of document.querySelectorAll("button")) button.disabled = true;
      document.getElementById("clock").textContent = "The code has expired. Ask for a new one in your terminal.";
    }
  }, 500);
}
"""


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# form-action is also applied to where a form redirects to: the loopback page of the command line.
_POLICY = (
    f"default-src 'none'; style-src {_digest(_STYLE)}; script-src {_digest(_SCRIPT)}; base-uri 'none'; "
    "form-action 'self' http://127.0.0.1:* http://localhost:*; frame-ancestors 'none'"
)


def _page(title: str, content: str, *, status: int = 200) -> Response:
    body = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>\n<h1>{escape(title)}</h1>\n{content}\n"
        "<footer>Development sign-in. It asks for no password and is meant for demos and tests on this machine."
        f"</footer>\n</main><script>{_SCRIPT}</script></body></html>\n"
    )
    return Response(
        status=status,
        content_type="text/html; charset=utf-8",
        body=body.encode(),
        headers={"Content-Security-Policy": _POLICY},
    )


def ask_for_code_page(problem: str = "") -> Response:
    """Asks for the code that the terminal shows."""
    complaint = f"<p><strong>{escape(problem)}</strong></p>" if problem else ""
    return _page(
        "Enter the code",
        f'{complaint}<p>Type the code that your terminal shows.</p><form action="/device" method="get">'
        '<input type="text" name="user_code" aria-label="Code" autocomplete="off" autofocus required>'
        '<div class="buttons"><button class="main">Continue</button></div></form>',
        status=404 if problem else 200,
    )


def approve_device_page(user_code: str, seconds_left: int, people: Sequence[DevelopmentPerson]) -> Response:
    """Asks who signs in, and whether a device with that code may be let in."""
    return _page(
        "Let this terminal in?",
        "<p>Go on only if your own terminal shows this code:</p>"
        f'<span class="code">{escape(user_code)}</span>'
        f'<p class="dim" id="clock">Valid for <span id="left">{seconds_left}</span> seconds.</p>'
        '<form action="/device" method="post">'
        f'<input type="hidden" name="user_code" value="{escape(user_code)}">'
        f"{_choice(people)}</form>",
    )


def sign_in_page(action: str, people: Sequence[DevelopmentPerson]) -> Response:
    """Asks who signs in; *action* is where the form goes."""
    return _page(
        "Sign in to the bastion",
        f'<p>The command line on this machine asks you to sign in.</p><form action="{escape(action)}" method="post">'
        f"{_choice(people)}</form>",
    )


def _choice(people: Sequence[DevelopmentPerson]) -> str:
    cards = "".join(
        f'<label class="person"><input type="radio" name="person" value="{escape(person.user)}" required>'
        f"<span><strong>{escape(person.name or person.user)}</strong>"
        f"<small>{escape(person.user)} · {escape(', '.join(person.groups) or 'no groups')}</small></span></label>"
        for person in people
    )
    return (
        f"<fieldset><legend>Who are you?</legend>{cards}</fieldset>"
        '<div class="buttons"><button name="decision" value="deny" formnovalidate>Deny</button>'
        '<button class="main" name="decision" value="approve">Approve</button></div>'
    )


def done_page(name: str) -> Response:
    """Says that *name* has signed in."""
    return _page(
        "You are signed in",
        f"<p>Welcome, {escape(name)}. Go back to your terminal; you can close this tab.</p>",
    )


def denied_page() -> Response:
    """Says that the sign-in was denied."""
    return _page("Sign-in denied", "<p>Nobody was let in. You can close this tab.</p>")


def problem_page(problem: str) -> Response:
    """Says what is wrong with a request."""
    return _page("This does not work", f"<p>{escape(problem)}</p>", status=400)
