"""The page that a session's link opens in the sandbox: a person plays the customer by its buttons. It has no script."""

import html
from collections.abc import Iterable
from datetime import timedelta

from aiohttp import web

from onboarding_sandbox.endpoints.opened import Opened
from onboarding_sandbox.log import Log
from onboarding_sandbox.options import Clock
from onboarding_sandbox.people.customers import Customers, Instruction
from onboarding_sandbox.wire import WEBHOOKS

ROUTE = "/verify/{token}"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
# What the form sends, what the customer then does, and the button's words.
BUTTONS = {
    "pass": ("finish", "Pass", "You are verified, and approved."),
    "deny": ("deny", "Be denied", "You are verified, and denied. FrankieOne reports no verdict."),
    "leave": ("open", "Start and leave", "You open the link, and do nothing more. You may come back until it expires."),
    "expire": ("expire", "Let it expire", "The link ends now, unused. FrankieOne reports nothing of that."),
}
COMES_BACK = (None, "leave")  # who has pressed nothing, or has left, may press a button
DONE = {button: f"Done: {words[1]}." for button, words in BUTTONS.items()}
STYLE = """
body { font: 18px/1.5 system-ui, sans-serif; max-width: 36rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430 }
.mark { background: #fff3c4; border: 2px solid #8a6d00; padding: .5rem 1rem; font-weight: 600 }
button { font: inherit; padding: .6rem 1rem; min-width: 12rem; cursor: pointer }
button:focus-visible { outline: 3px solid #0b5cad; outline-offset: 2px }
form p { margin: .2rem 0 1.2rem }
"""


class PlayedPage:
    """The pages of all sessions. `customers` do what the buttons say, and their webhooks follow."""

    def __init__(self, customers: Customers, clock: Clock, log: Log) -> None:
        self._customers, self._clock, self._log = customers, clock, log
        self._played: dict[str, str] = {}  # the button that was pressed, by token

    def reset(self) -> None:
        self._played.clear()

    def routes(self) -> list[web.RouteDef]:
        return [web.get(ROUTE, self.shown), web.post(ROUTE, self.press)]

    async def shown(self, request: web.Request) -> web.Response:
        token = request.match_info["token"]
        opened = self._session(token)
        if opened is None:
            return _page("Unknown link", "<p>The sandbox has no session with this link.</p>", status=404)
        pressed = self._played.get(token)
        status = "" if pressed is None else f'<p role="status">{html.escape(DONE[pressed])}</p>'
        if pressed not in COMES_BACK:
            return _page("Verification", f"{status}<p>{self._heard(opened)}</p>")
        if self._clock() >= opened.expires_at:
            return _page("Link expired", "<p>This link has expired.</p>", status=410)
        return _page("Verification", status + self._form([name for name in BUTTONS if name != pressed]))

    async def press(self, request: web.Request) -> web.Response:
        token = request.match_info["token"]
        opened, pressed = self._session(token), str((await request.post()).get("does", ""))
        if opened is None or pressed not in BUTTONS:
            return _page("Not possible", "<p>There is no such session, or no such button.</p>", status=400)
        if self._played.get(token) in COMES_BACK and self._clock() < opened.expires_at:
            self._played[token] = pressed
            # An expired link is reported at once: a person who plays cannot wait for days.
            after = timedelta(0) if pressed == "expire" else None
            self._customers.instruct(opened, Instruction(BUTTONS[pressed][0], after))
        return web.Response(status=303, headers={"Location": request.path, "Cache-Control": "no-store"})

    def _session(self, token: str) -> Opened | None:
        opened = self._customers.find(token)
        return opened if opened is not None and opened.token == token else None

    def _form(self, names: Iterable[str]) -> str:
        buttons = "".join(
            f'<button name="does" value="{name}" aria-describedby="{name}">{label}</button><p id="{name}">{words}</p>'
            for name, (_, label, words) in ((name, BUTTONS[name]) for name in names)
        )
        return f'<p>Play what the customer does.</p><form method="post">{buttons}</form>'

    def _heard(self, opened: Opened) -> str:
        """Where the session's newest webhook went, and whether it was answered."""
        address = self._customers.address(opened.endpoint)
        if address is None:
            return (
                "No address for webhooks is set, so the worker does not hear of it: start the sandbox with --webhooks."
            )
        at = html.escape("/".join(address.split("/")[:3]))  # its path may have a secret
        entries = (one for one in reversed(self._log.entries) if one["endpoint"] == WEBHOOKS)
        last = next((one for one in entries if one["reference"] == opened.reference), None)
        if last is None or last["status"] is None:
            return f"The provider reports it to {at}: <code>onboard web</code> must listen there."
        if isinstance(last["status"], int):
            return f"The provider has reported it to {at}, and the answer was {last['status']}."
        return (
            f"The provider could not report it to {at} ({html.escape(str(last['status']))}): if"
            " <code>onboard web</code> listens elsewhere, start the sandbox with --webhooks."
        )


def _page(title: str, body: str, *, status: int = 200) -> web.Response:
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title} (sandbox)</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body><main>'
        f'<p class="mark">Sandbox: no real verification</p><h1>{title}</h1>{body}</main></body></html>'
    )
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(text=text, content_type="text/html", status=status, headers=headers)
