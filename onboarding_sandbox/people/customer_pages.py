"""The pages by which people play: /_sandbox/customers, which instructs customers and recipients of messages; and the
page that a session's link opens, where a person plays the customer by its buttons. It has no script.
"""

import html
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from onboarding_sandbox.endpoints.twilio import Text
from onboarding_sandbox.mailbox import Mailbox
from onboarding_sandbox.options import CUSTOMERS, MAILS, TEXTS, Clock, Trouble, span
from onboarding_sandbox.people.customers import DEFAULT_EDITION, Customers, Instruction
from onboarding_sandbox.people.plans import EDITIONS
from onboarding_sandbox.people.recipients import Recipients
from onboarding_sandbox.wire import WEBHOOKS, Log, Opened, read_json

NAMES = ("session", "text", "mail")
FIELDS = frozenset(
    [*NAMES, "does", "after", "review", "late", "twice", "swapped", "forged", "url", "key", "edition", "code"]
)


class CustomerPages:
    def __init__(self, customers: Customers, recipients: Recipients, texts: list[Text], mailbox: Mailbox) -> None:
        self._customers, self._recipients, self._texts, self._mailbox = customers, recipients, texts, mailbox

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/_sandbox/customers", self.shown), web.post("/_sandbox/customers", self.instruct)]

    async def shown(self, request: web.Request) -> web.StreamResponse:
        """All sessions as a JSON list, with what their customers do; `?client=` for one customer."""
        client = request.query.get("client")
        return web.json_response(
            [one.facts() for one in self._customers.sessions if client is None or client == one.client]
        )

    async def instruct(self, request: web.Request) -> web.StreamResponse:
        """Instruct one customer or recipient. 202 with the events that will be sent, in order."""
        try:
            fields = read_json(await request.read())
            if not isinstance(fields, dict) or sum(name in fields for name in NAMES) != 1:
                raise ValueError(f"expected a JSON object with one of {', '.join(NAMES)}")
            if unknown := sorted(set(fields) - FIELDS):
                raise ValueError(f"unknown: {', '.join(unknown)}; known are {', '.join(sorted(FIELDS))}")
            events = self._instruct(fields)
        except LookupError as error:
            return web.json_response({"error": str(error.args[0])}, status=404)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(events, status=202)

    def _instruct(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Raises LookupError if there is no such session, text or mail, ValueError if the instruction is invalid."""
        trouble = Trouble(_span(fields, "late"), *(_flag(fields, name) for name in ("twice", "swapped", "forged")))
        if "session" in fields:
            return self._instruct_customer(fields, trouble)
        if "text" in fields:
            text = next((one for one in self._texts if one.sid == fields["text"]), None)
            if text is None:
                raise LookupError("no text has this sid")
            does = _one_of(fields, "does", list(TEXTS))
            if not self._recipients.may_call(text):
                raise ValueError("the text has no callback, or its callback is not on this machine")
            code = None if fields.get("code") is None else str(fields["code"])
            return {"events": self._recipients.report_text(text, does, code=code, trouble=trouble)}
        mail = next((one for one in reversed(self._mailbox.messages) if one.message_id == fields["mail"]), None)
        if mail is None:
            raise LookupError("no mail has this message_id")
        does = _one_of(fields, "does", list(MAILS))
        if not self._recipients.reports_mail:
            raise ValueError("no address for webhooks about mails: set --mail-webhook")
        return {"events": self._recipients.report_mail(mail, does, trouble=trouble)}

    def _instruct_customer(self, fields: Mapping[str, Any], trouble: Trouble) -> dict[str, Any]:
        name = fields["session"]
        opened = self._customers.find(name) if isinstance(name, str) else None
        if opened is None:
            raise LookupError("no session has this token, reference or client")
        does = _one_of(fields, "does", list(CUSTOMERS))
        edition = _one_of({"edition": DEFAULT_EDITION, **fields}, "edition", list(EDITIONS))
        url = _text(fields, "url")
        if url is not None and urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("url must be an http address")
        if url is None and self._customers.address(opened.endpoint) is None:
            raise ValueError(f"no address for webhooks of {opened.endpoint}: give url, or set --webhooks")
        after, review = (_span(fields, time) if time in fields else None for time in ("after", "review"))
        instruction = Instruction(does, after, review, trouble, url, _text(fields, "key"), edition)
        return {"session": opened.facts(), "events": self._customers.instruct(opened, instruction)}


def _one_of(fields: Mapping[str, Any], name: str, known: Sequence[str]) -> str:
    given = fields.get(name)
    if given not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}")
    return str(given)


def _span(fields: Mapping[str, Any], name: str) -> timedelta:
    """Seconds, or a time such as "2h"."""
    given = fields.get(name, 0)
    if isinstance(given, str):
        return span(given)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1e9:
        raise ValueError(f'{name} is in seconds, or a time such as "2h"')
    return timedelta(seconds=given)


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    given = fields.get(name, False)
    if not isinstance(given, bool):
        raise ValueError(f"{name} is true or false")
    return given


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    given = fields.get(name)
    if given is not None and not isinstance(given, str):
        raise ValueError(f"{name} is a text")
    return given


ROUTE = "/verify/{token}"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
# What the form sends, what the customer then does, and the button's words.
BUTTONS = {
    "pass": ("finish", "Pass", "You are verified, and approved."),
    "deny": ("deny", "Be denied", "You are verified, and denied. FrankieOne reports no verdict."),
    "leave": ("open", "Start and leave", "You open the link, and do nothing more. You may come back until it expires."),
    "expire": ("expire", "Let it expire", "The link ends now, unused. FrankieOne reports nothing of that."),
}
COMES_BACK = ("", "leave")  # who has pressed nothing, or has left, may press a button
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

    def routes(self) -> list[web.RouteDef]:
        return [web.get(ROUTE, self.shown), web.post(ROUTE, self.press)]

    async def shown(self, request: web.Request) -> web.Response:
        opened = self._session(request)
        if opened is None:
            return _page("Unknown link", "<p>The sandbox has no session with this link.</p>", status=404)
        pressed = opened.pressed
        status = f'<p role="status">{html.escape(DONE[pressed])}</p>' if pressed else ""
        if pressed not in COMES_BACK:
            return _page("Verification", f"{status}<p>{self._heard(opened)}</p>")
        if self._clock() >= opened.expires_at:
            return _page("Link expired", "<p>This link has expired.</p>", status=410)
        buttons = "".join(
            f'<button name="does" value="{name}" aria-describedby="{name}">{label}</button><p id="{name}">{words}</p>'
            for name, (_, label, words) in BUTTONS.items()
            if name != pressed
        )
        form = f'<p>Play what the customer does.</p><form method="post">{buttons}</form>'
        return _page("Verification", status + form)

    async def press(self, request: web.Request) -> web.Response:
        opened, pressed = self._session(request), str((await request.post()).get("does", ""))
        if opened is None or pressed not in BUTTONS:
            return _page("Not possible", "<p>There is no such session, or no such button.</p>", status=400)
        if opened.pressed in COMES_BACK and self._clock() < opened.expires_at:
            opened.pressed = pressed
            # An expired link is reported at once: a person who plays cannot wait for days.
            after = timedelta(0) if pressed == "expire" else None
            self._customers.instruct(opened, Instruction(BUTTONS[pressed][0], after))
        return web.Response(status=303, headers={"Location": request.path, "Cache-Control": "no-store"})

    def _session(self, request: web.Request) -> Opened | None:
        opened = self._customers.find(request.match_info["token"])
        return opened if opened is not None and opened.token == request.match_info["token"] else None

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
