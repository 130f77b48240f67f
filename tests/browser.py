"""A browser without a screen: it reads the forms of a sign-in page and sends them as a person would.

It knows plain HTML and HTTP only, so it works with the development issuer and with node's oidc-provider alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx2


@dataclass
class Form:
    """A form of a page: where it goes, what it holds, and which buttons and choices it offers."""

    action: str = ""
    method: str = "get"
    fields: dict[str, str] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(action=given.get("action", ""), method=given.get("method", "get").lower()))
        if not self.forms or "name" not in given:
            return
        form, name, value = self.forms[-1], given["name"], given.get("value", "")
        if tag == "button":
            form.buttons.append((name, value))
        elif tag == "input" and given.get("type") == "radio":
            form.choices.setdefault(name, []).append(value)
        elif tag == "input":
            form.fields[name] = value


class Browser:
    """One browser window with its cookies, at a page."""

    def __init__(self) -> None:
        self._client = httpx2.AsyncClient(follow_redirects=True, timeout=20, trust_env=False)
        self.response: httpx2.Response | None = None

    async def __aenter__(self) -> Browser:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    @property
    def page(self) -> httpx2.Response:
        assert self.response is not None, "no page has been opened"
        return self.response

    @property
    def form(self) -> Form | None:
        """The first form of the page, if it has one."""
        parser = _Forms()
        parser.feed(self.page.text)
        return parser.forms[0] if parser.forms else None

    async def open(self, url: str) -> httpx2.Response:
        """Go to *url*, following redirects as a browser does."""
        self.response = await self._client.get(url)
        return self.response

    async def submit(self, **values: str) -> httpx2.Response:
        """Send the page's form with *values* filled in."""
        form = self.form
        assert form is not None, f"there is no form on {self.page.url}: {self.page.text[:500]}"
        for name, value in values.items():
            assert value in form.choices.get(name, [value]), f"{value!r} is not among {form.choices[name]}"
        url = urljoin(str(self.page.url), form.action)
        data = form.fields | values
        if form.method == "post":
            origin = f"{self.page.url.scheme}://{self.page.url.netloc.decode()}"
            self.response = await self._client.post(url, data=data, headers={"Origin": origin})
        else:
            self.response = await self._client.get(url, params=data)
        return self.response


async def decide_device(
    issuer_url: str, user_code: str, *, person: str = "", decision: str = "approve"
) -> str:
    """Type *user_code* into the development issuer's page and decide; returns the text of the last page."""
    async with Browser() as browser:
        await browser.open(f"{issuer_url}/device")
        await browser.submit(user_code=user_code)
        if decision == "approve":
            await browser.submit(person=person, decision=decision)
        else:
            await browser.submit(decision=decision)
        browser.page.raise_for_status()
        return browser.page.text


async def approve_device(issuer_url: str, user_code: str, person: str) -> str:
    """Let the terminal that shows *user_code* in as *person*."""
    return await decide_device(issuer_url, user_code, person=person)


async def deny_device(issuer_url: str, user_code: str) -> str:
    """Turn the terminal that shows *user_code* away."""
    return await decide_device(issuer_url, user_code, decision="deny")


async def sign_in(authorization_url: str, person: str) -> httpx2.Response:
    """Sign in as *person* and follow the way back to the client; returns the last page."""
    async with Browser() as browser:
        await browser.open(authorization_url)
        return await browser.submit(person=person, decision="approve")


async def refuse_sign_in(authorization_url: str) -> httpx2.Response:
    """Press Deny and follow the way back to the client; returns the last page."""
    async with Browser() as browser:
        await browser.open(authorization_url)
        return await browser.submit(decision="deny")
