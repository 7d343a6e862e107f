"""The pages by which customers, and those who get messages, are told what to do: /_sandbox/customers."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from worker.sandbox.behaviour import CUSTOMERS, MAILS, TEXTS, Trouble, span
from worker.sandbox.mailbox import Mailbox
from worker.sandbox.people.customers import DEFAULT_EDITION, Customers, Told
from worker.sandbox.people.recipients import Recipients
from worker.sandbox.people.webhooks_frankieone import EDITIONS
from worker.sandbox.texts import Texts
from worker.sandbox.wire import read_json

NAMES = ("session", "text", "mail")
FIELDS = frozenset(
    [*NAMES, "does", "after", "review", "late", "twice", "swapped", "forged", "url", "key", "edition", "code"]
)


class CustomerPages:
    def __init__(self, customers: Customers, recipients: Recipients, texts: Texts, mailbox: Mailbox) -> None:
        self._customers = customers
        self._recipients = recipients
        self._texts = texts
        self._mailbox = mailbox

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/_sandbox/customers", self.shown), web.post("/_sandbox/customers", self.tell)]

    async def shown(self, request: web.Request) -> web.StreamResponse:
        """All sessions as a JSON list, and what their customers do; `?client=` for one customer's."""
        client = request.query.get("client")
        return web.json_response(
            [one.facts() for one in self._customers.sessions if client is None or client == one.client]
        )

    async def tell(self, request: web.Request) -> web.StreamResponse:
        """Tell one what to do. 202 with the events that will be sent, in order."""
        try:
            said = _read(await request.read())
            told = self._told(said)
        except LookupError as error:
            return web.json_response({"error": str(error.args[0])}, status=404)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(told, status=202)

    def _told(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """Raises LookupError where nobody is meant, ValueError for what cannot be done."""
        trouble = Trouble(_span(said, "late"), *(_flag(said, name) for name in ("twice", "swapped", "forged")))
        if "session" in said:
            return self._tell_customer(said, trouble)
        if "text" in said:
            text = next((one for one in self._texts if one.sid == said["text"]), None)
            if text is None:
                raise LookupError("no text has this sid")
            does = _one_of(said, "does", list(TEXTS))
            if not self._recipients.may_call(text):
                raise ValueError("the text has no callback, or one that is not on this machine")
            return {"events": self._recipients.tell_text(text, does, code=_code(said), trouble=trouble)}
        mail = next((one for one in reversed(self._mailbox.messages) if one.message_id == said["mail"]), None)
        if mail is None:
            raise LookupError("no mail has this message_id")
        does = _one_of(said, "does", list(MAILS))
        if not self._recipients.tells_of_mail:
            raise ValueError("no address is known for what is told of mails: --mail-webhook")
        return {"events": self._recipients.tell_mail(mail, does, trouble=trouble)}

    def _tell_customer(self, said: Mapping[str, Any], trouble: Trouble) -> dict[str, Any]:
        name = said["session"]
        opened = self._customers.find(name) if isinstance(name, str) else None
        if opened is None:
            raise LookupError("no session has this token, reference or client")
        does = _one_of(said, "does", list(CUSTOMERS))
        edition = _one_of({"edition": DEFAULT_EDITION, **said}, "edition", list(EDITIONS))
        url = _text(said, "url")
        if url is not None and urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("url is an http address")
        if url is None and self._customers.address(opened.endpoint) is None:
            raise ValueError(f"no address is known for webhooks of {opened.endpoint}: url, or --webhooks")
        after, review = (_span(said, time) if time in said else None for time in ("after", "review"))
        told = Told(does, after, review, trouble, url, _text(said, "key"), edition)
        return {"session": opened.facts(), "events": self._customers.tell(opened, told)}


def _read(body: bytes) -> Mapping[str, Any]:
    said = read_json(body)
    if not isinstance(said, dict) or sum(name in said for name in NAMES) != 1:
        raise ValueError(f"expected a JSON object with one of {', '.join(NAMES)}")
    if unknown := sorted(set(said) - FIELDS):
        raise ValueError(f"unknown: {', '.join(unknown)}; known are {', '.join(sorted(FIELDS))}")
    return said


def _one_of(said: Mapping[str, Any], name: str, known: Sequence[str]) -> str:
    given = said.get(name)
    if given not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}")
    return str(given)


def _span(said: Mapping[str, Any], name: str) -> timedelta:
    """Seconds, or a time such as "2h"."""
    given = said.get(name, 0)
    if isinstance(given, str):
        return span(given)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1e9:
        raise ValueError(f'{name} is in seconds, or a time such as "2h"')
    return timedelta(seconds=given)


def _flag(said: Mapping[str, Any], name: str) -> bool:
    given = said.get(name, False)
    if not isinstance(given, bool):
        raise ValueError(f"{name} is true or false")
    return given


def _text(said: Mapping[str, Any], name: str) -> str | None:
    given = said.get(name)
    if given is not None and not isinstance(given, str):
        raise ValueError(f"{name} is a text")
    return given


def _code(said: Mapping[str, Any]) -> str | None:
    return None if said.get("code") is None else str(said["code"])
