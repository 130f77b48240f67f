"""The pages of the development issuer: plain HTML forms that work without JavaScript.

Text in, a response out. Whatever comes from outside goes through `escape`. The one script counts the seconds down.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bastion.config.model import DevelopmentPerson
from bastion.identity.pages import page
from bastion.identity.web import Response

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


_FOOTER = "Development sign-in. It asks for no password and is meant for demos and tests on this machine."

# form-action is also applied to where a form redirects to: the loopback page of the command line.
_FORM_ACTION = "'self' http://127.0.0.1:* http://localhost:*"


def _page(title: str, content: str, *, status: int = 200) -> Response:
    return page(title, content, status=status, footer=_FOOTER, script=_SCRIPT, form_action=_FORM_ACTION)


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
        f"<span><strong>{escape(person.name or person.user)}</strong> &ensp;"
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
