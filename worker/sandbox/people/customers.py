"""Plays the customers: who opens which link when, what they do there, and what the provider then tells."""

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from worker.sandbox.behaviour import NEVER, Chance, Trouble
from worker.sandbox.endpoints.idenfy import Partner
from worker.sandbox.endpoints.opened import Opened, opened_by
from worker.sandbox.options import SandboxOptions
from worker.sandbox.people import webhooks_frankieone, webhooks_idenfy
from worker.sandbox.people.errands import Errands
from worker.sandbox.people.plans import IDLE, Step, steps
from worker.sandbox.people.postman import Letter, Postman
from worker.sandbox.wire import IDENFY_KYC, Answer, Call

WRONG_KEY = "a key that nobody has"
DEFAULT_EDITION = "current"
NO_TROUBLE = Trouble()


@dataclass(frozen=True)
class Told:
    """What a customer is to do, and how the webhooks go. Times are the customers'.

    `after` None is at once, and for a link that is to expire, when its life ends. `review`, `url` and `key` None are
    the options'.
    """

    does: str
    after: timedelta | None = None
    review: timedelta | None = None
    trouble: Trouble = NO_TROUBLE
    url: str | None = None
    key: str | None = None
    edition: str = DEFAULT_EDITION


class Customers:
    """One for a sandbox. `sessions` are all that it has opened, in order."""

    def __init__(self, options: SandboxOptions, partner: Partner, errands: Errands, postman: Postman) -> None:
        self._options = options
        self._partner = partner
        self._errands = errands
        self._postman = postman
        self._nth: Counter[tuple[str, str]] = Counter()
        self._by: dict[str, Opened] = {}
        self.sessions: list[Opened] = []
        self._jwt_key = webhooks_frankieone.private_key(options.webhook_jwt_key) if options.webhook_jwt_key else None

    def reset(self) -> None:
        self._nth.clear()
        self._by.clear()
        self.sessions.clear()

    def find(self, name: str) -> Opened | None:
        """The newest session with this token, reference or client."""
        return self._by.get(name)

    def opened(self, endpoint: str, call: Call, answer: Answer) -> None:
        """Take note of a session that an endpoint has opened, and let its customer go."""
        opened = opened_by(endpoint, call, answer)
        if opened is None:
            return
        self.sessions.append(opened)
        self._by |= {name: opened for name in (opened.client, opened.reference, opened.token) if name}
        who = (endpoint, opened.client)
        self._nth[who] += 1
        if not self._options.customers:
            return
        # By customer and how often: whoever comes first, each does the same again.
        chance = Chance(self._options.seed, *who, self._nth[who])
        does = chance.of(self._options.customers, NEVER)
        after = None if does in IDLE else chance.between(*self._options.customers_after)
        self.tell(opened, Told(does, after, trouble=chance.trouble(self._options.webhook_troubles)))

    def tell(self, opened: Opened, told: Told) -> list[str]:
        """Let the customer do it. Returns the names of the events that will be sent for it, in order."""
        life = opened.expires_at - self._options.clock()
        does = told.does
        after = told.after if told.after is not None else life if does in IDLE else timedelta(0)
        if does not in (*IDLE, NEVER) and after >= life:
            does, after = "expire", life  # too late: the link is dead by then
        opened.does = does
        review = self._options.review_after if told.review is None else told.review
        plan = steps(opened.endpoint, does, review=review, edition=told.edition)
        if does == "open":
            opened.state = "opened"
        if plan:
            self._errands.later(after, functools.partial(self._live, opened, told, plan))
        return [step.event for step in plan]

    def address(self, endpoint: str) -> str | None:
        """Where the endpoint's webhooks go: what was said of it, or of all, with its name at the end."""
        known = self._options.webhooks
        if endpoint in known:
            return known[endpoint]
        return f"{known['']}/{endpoint}" if "" in known else None

    async def _live(self, opened: Opened, told: Told, plan: tuple[Step, ...]) -> None:
        acted_at = self._options.clock()
        letters = []
        for number, step in enumerate(plan):
            await self._errands.wait(step.after)
            now = self._options.clock()
            body = step.body(opened, acted_at, now)
            opened.state = step.event
            if opened.endpoint == IDENFY_KYC:
                self._partner.decide(opened.client, opened.reference, step.status)
            letter = self._letter(opened, told, step.event, body)
            if letter is None:
                continue
            if number == 0:
                await self._errands.wait(told.trouble.late)
            if told.trouble.swapped:
                letters.append(letter)
            else:
                await self._postman.send(letter, told.trouble)
        for letter in reversed(letters):
            await self._postman.send(letter, told.trouble)

    def _letter(self, opened: Opened, told: Told, event: str, said: Mapping[str, Any]) -> Letter | None:
        url = told.url or self.address(opened.endpoint)
        if url is None:
            return None
        body = webhooks_idenfy.encoded(said)
        if opened.endpoint.startswith("idenfy"):
            key = self._options.webhook_key if told.key is None else told.key
            return Letter(
                "idenfy",
                event,
                url,
                body,
                lambda: webhooks_idenfy.headers(event, body, key),
                opened.client,
                opened.reference,
                forged_headers=webhooks_idenfy.headers(event, body, WRONG_KEY),
            )
        request_id = said["requestId"]
        return Letter(
            "frankieone",
            event,
            f"{url}/{request_id}",
            body,
            lambda: self._frankie_headers(request_id, self._options.clock()),
            opened.client,
            opened.reference,
            forged_url=f"{url.rpartition('/')[0]}/not-the-secret/{request_id}",
            forged_headers={"Authorization": "Bearer nobody"},
        )

    def _frankie_headers(self, request_id: str, now: datetime) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._jwt_key is not None:
            headers["Authorization"] = f"Bearer {webhooks_frankieone.token(self._jwt_key, request_id, at=now)}"
        return headers
