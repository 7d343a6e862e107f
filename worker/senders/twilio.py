"""Hands invitations to Twilio, as SMS or by WhatsApp: one call for each, and once more after a 401 if the token has
been replaced in its file. Facts: docs/providers/twilio.md."""

import asyncio
import json
import logging
import math
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import quote, urlencode, urlsplit

from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest, MayWrite
from onboarding_worker.core.rules.reconciliation import Nothing, Unmatched
from onboarding_worker.senders import twilio_answers as answers
from onboarding_worker.senders.contract import (
    Caller,
    Message,
    Receipt,
    TextFacts,
    TextService,
    TextSettings,
    TextTools,
    Token,
)
from onboarding_worker.templates.content import content_of

Read = TypeVar("Read")
Build = Callable[[str], HttpRequest]  # the request with this token

log = logging.getLogger(__name__)

# Twilio's bounds of ValidityPeriod.
LEAST_VALIDITY, MOST_VALIDITY = timedelta(seconds=1), timedelta(seconds=36_000)


async def ask(
    http: Caller,
    token: Token,
    build: Build,
    read: Callable[[HttpAnswer | Broken], Read | Problem],
    *,
    timeout: timedelta,  # noqa: ASYNC109
    may_write: MayWrite | None = None,
) -> Read | Problem:
    """What `read` makes of the answer. `build` makes the request with the token's value. After an AUTH with status 401
    nothing was sent. If the token has been replaced since, one more call is made, also if another call read the new
    token. Both calls share one time-out: the lease has no room for more."""
    time = asyncio.get_running_loop().time
    deadline = time() + timeout.total_seconds()
    value = token.reveal()
    answer = read(await http.call(build(value), timeout=timeout, may_write=may_write))
    if not isinstance(answer, Problem) or answer.kind is not Kind.AUTH or answer.status != 401:
        return answer
    token.reload()
    if token.reveal() == value:
        return answer
    left = timedelta(seconds=deadline - time())
    if left < timeout / 2:  # a second call that is cut off early would have an unknown outcome
        return replace(answer, kind=Kind.TRANSIENT, detail=f"{answer.detail}; its token was replaced")
    return read(await http.call(build(token.reveal()), timeout=left, may_write=may_write))


@dataclass(frozen=True)
class Way:
    """How a message of one channel is written to Twilio: its addresses, its words, what refusals of it mean, and
    whether Twilio's list shows its link."""

    address: Callable[[str], str]
    words: Callable[[Message], dict[str, str]]
    meaning: answers.Meaning
    shows_link: bool


def _text(message: Message) -> dict[str, str]:
    fields = {"Body": message.text}
    if message.valid_for is not None:
        # A text that waits in Twilio's queue must not arrive with a dead link.
        validity = min(max(message.valid_for, LEAST_VALIDITY), MOST_VALIDITY)
        fields["ValidityPeriod"] = str(math.floor(validity.total_seconds()))
    return fields


def _content(message: Message) -> dict[str, str]:
    content = content_of(message.text)
    return {"ContentSid": content.sid, "ContentVariables": json.dumps(content.values, ensure_ascii=False)}


WAYS = {
    "sms": Way(address=lambda number: number, words=_text, meaning=answers.OF_TEXTS, shows_link=True),
    # The link may be in a button of the approved template, which the list does not show.
    "whatsapp": Way(
        address=lambda number: f"{answers.PREFIX}{number}",
        words=_content,
        meaning=answers.OF_WHATSAPP,
        shows_link=False,
    ),
}


class TwilioSender:
    """A channel to phones. `key` of the settings: an API key of the account, whose secret is `token`. `from_` is a
    number, a sender's name, or a messaging service (MG…). Twilio has no idempotency key, so a message with an unknown
    outcome is repeated only with `repeat_unknown`, and the customer may get it twice."""

    no_look_up = ""

    def __init__(self, settings: TextSettings, tools: TextTools) -> None:
        self._settings, self._tools = settings, tools
        self._way = WAYS[tools.channel]
        account = quote(settings.account, safe="")
        self._account_url = f"{settings.base_url.rstrip('/')}/2010-04-01/Accounts/{account}"
        self._url = f"{self._account_url}/Messages.json"
        self._from = {"From": self._way.address(settings.from_)}
        if settings.from_.startswith("MG") and len(settings.from_) == 34:  # a messaging service
            self._from = {"MessagingServiceSid": settings.from_}

    def repeatable(self) -> bool:
        """True only if the configuration prefers two messages to none: Twilio accepts the same message twice."""
        return self._tools.repeat_unknown

    async def preflight(self) -> Problem | None:
        """Fetch the account: it needs the same log-in as a text, says whether it may send, and is free. Most API keys
        may not see it; then a page of its messages shows that the key is good."""
        found = await self._look(f"{self._account_url}.json")
        if self._settings.key and found is not None and found.status in (401, 403):
            found = await self._look(f"{self._url}?PageSize=1")
        # Without an answer the account may still be well: only a server that cannot be reached keeps texts back.
        return found if found is None or found.unreachable or found.kind is Kind.AUTH else None

    async def _look(self, url: str) -> Problem | None:
        def read_it(answer: HttpAnswer) -> Problem | None:
            if answer.status in (404, 405):
                log.warning("%s: HTTP %d: whether the account is suspended is not known", url, answer.status)
            return answers.read_account(answer, now=self._tools.now())

        return await self._ask(lambda token: HttpRequest("GET", url, self._headers(token)), read_it)

    async def send(self, message: Message, may_write: MayWrite | None = None) -> Receipt | Problem:
        """Hand the message over; the receipt's reference is its sid. The text is not shortened."""
        return await self._ask(
            lambda token: self._request(message, token),
            lambda answer: answers.read(answer, to=message.to, now=self._tools.now(), meaning=self._way.meaning),
            may_write,
        )

    async def look_up(
        self, to: str, link: str, *, since: datetime, known: frozenset[str]
    ) -> Receipt | Nothing | Unmatched | Problem:
        """Look for our message in Twilio's list of texts to the number: the body of ours has the link."""
        service = self._from.get("MessagingServiceSid", "")
        sought = answers.Sought(to, link, since, known, service=service, shows_link=self._way.shows_link)
        found: Receipt | Nothing | Unmatched | Problem = await self._ask(
            lambda token: self._list(to, token), lambda answer: answers.read_list(answer, sought, now=self._tools.now())
        )
        if isinstance(found, Problem) and found.kind is Kind.UNKNOWN:
            return replace(found, kind=Kind.TRANSIENT)  # a look-up changes nothing at Twilio
        return found

    async def _ask(
        self, build: Build, read: Callable[[HttpAnswer], Read | Problem], may_write: MayWrite | None = None
    ) -> Read | Problem:
        def read_it(answer: HttpAnswer | Broken) -> Read | Problem:
            result = answers.broken(answer) if isinstance(answer, Broken) else read(answer)
            return self._placed(result) if isinstance(result, Problem) else result

        http, settings = self._tools.http, self._settings
        return await ask(http, settings.token, build, read_it, timeout=settings.timeout, may_write=may_write)

    async def close(self) -> None:
        await self._tools.http.close()

    def _placed(self, problem: Problem) -> Problem:
        """The Problem with the server, and with what to correct, if it is not about one message."""
        if problem.unreachable:
            return replace(problem, detail=f"{urlsplit(self._account_url).netloc}: {problem.detail}")
        if problem.status == 401 and self._tools.login_from:
            return replace(problem, detail=f"{problem.detail}; correct {self._tools.login_from}")
        return problem

    def _request(self, message: Message, token: str) -> HttpRequest:
        fields = {"To": self._way.address(message.to), **self._from, **self._way.words(message)}
        if self._tools.callback:
            fields["StatusCallback"] = self._tools.callback
        headers = {"Content-Type": "application/x-www-form-urlencoded", **self._headers(token)}
        return HttpRequest("POST", self._url, headers, urlencode(fields).encode())

    def _list(self, to: str, token: str) -> HttpRequest:
        # No filter by date: Twilio's is the day of sending, and a text that still waits in Twilio's queue has none. No
        # filter by messaging service: it picks its number later, so other texts are left out when the answer is read.
        query = {"To": self._way.address(to), **self._from, "PageSize": 1000}
        query.pop("MessagingServiceSid", None)
        return HttpRequest("GET", f"{self._url}?{urlencode(query)}", self._headers(token))

    def _headers(self, token: str) -> dict[str, str]:
        login = b64encode(f"{self._settings.key or self._settings.account}:{token}".encode()).decode()
        return {"Authorization": f"Basic {login}", "Accept": "application/json"}


TEXT_SERVICE = TextService(facts=TextFacts(host="https://api.twilio.com", channels=tuple(WAYS)), sender=TwilioSender)
