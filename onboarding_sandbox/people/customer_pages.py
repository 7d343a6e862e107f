"""The page that instructs customers and recipients of messages: /_sandbox/customers."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from onboarding_sandbox.behaviour import CUSTOMERS, MAILS, TEXTS, Trouble, span
from onboarding_sandbox.endpoints.twilio import Text
from onboarding_sandbox.mailbox import Mailbox
from onboarding_sandbox.people.customers import DEFAULT_EDITION, Customers, Instruction
from onboarding_sandbox.people.recipients import Recipients
from onboarding_sandbox.people.webhooks_frankieone import EDITIONS
from onboarding_sandbox.wire import read_json

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
            events = self._instruct(_read(await request.read()))
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


def _read(body: bytes) -> Mapping[str, Any]:
    fields = read_json(body)
    if not isinstance(fields, dict) or sum(name in fields for name in NAMES) != 1:
        raise ValueError(f"expected a JSON object with one of {', '.join(NAMES)}")
    if unknown := sorted(set(fields) - FIELDS):
        raise ValueError(f"unknown: {', '.join(unknown)}; known are {', '.join(sorted(FIELDS))}")
    return fields


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
