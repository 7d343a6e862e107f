"""Simulates the customers: when they open their links, what they do there, and which webhooks follow."""

import functools
import re
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

from onboarding_sandbox.behaviour import NEVER, NO_TROUBLE, STAY_AWAY, Chance, Trouble
from onboarding_sandbox.endpoints.idenfy import Partner
from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.people.plans import IDLE, Step, encoded, frankieone_token, idenfy_headers, private_key, steps
from onboarding_sandbox.people.webhook_sender import DelayedTasks, Webhook, WebhookSender
from onboarding_sandbox.wire import IDENFY_KYC, Answer, Call, Opened, opened_by

WRONG_KEY = "not the key"
DEFAULT_EDITION = "current"
LINK = re.compile(r"https?://[^\s<>\"']+")


@dataclass(frozen=True)
class Instruction:
    """What a customer does, and how the webhooks are sent. Times are in the customers' time.

    `after` None: at once; for a link that expires, at the end of its life. `review`, `url` and `key` None: as in the
    options.
    """

    does: str
    after: timedelta | None = None
    review: timedelta | None = None
    trouble: Trouble = NO_TROUBLE
    url: str | None = None
    key: str | None = None
    edition: str = DEFAULT_EDITION


class Customers:
    """The customers of one sandbox. `sessions` has all opened sessions, in order."""

    def __init__(
        self, options: SandboxOptions, partner: Partner, delayed: DelayedTasks, webhook_sender: WebhookSender
    ) -> None:
        self._options, self._partner, self._delayed, self._webhook_sender = options, partner, delayed, webhook_sender
        self._nth: Counter[tuple[str, str]] = Counter()
        self._by: dict[str, Opened] = {}
        self._waiting: dict[str, Instruction] = {}  # what who waits for a message will do, by the session's token
        self.sessions: list[Opened] = []
        # A customer who decides once has a seed to decide by, though the options may have none.
        self._own_seed = secrets.randbits(32) if options.seed is None else options.seed
        self._jwt_key = private_key(options.webhook_jwt_key) if options.webhook_jwt_key else None

    def reset(self) -> None:
        self._nth.clear()
        self._by.clear()
        self._waiting.clear()
        self.sessions.clear()

    def find(self, name: str) -> Opened | None:
        """The newest session with this token, reference or client."""
        return self._by.get(name)

    def at(self, link: str) -> Opened | None:
        """The session that this link opens."""
        names = re.split(r"[/?#&=]", unquote(link))
        return next((opened for name in reversed(names) if name and (opened := self._by.get(name))), None)

    def opened(self, endpoint: str, call: Call, answer: Answer) -> None:
        """Store a session that an endpoint has opened, and let its customer begin."""
        opened = opened_by(endpoint, call, answer)
        if opened is None:
            return
        self.sessions.append(opened)
        self._by |= {name: opened for name in (opened.client, opened.reference, opened.token) if name}
        customer = (endpoint, opened.client)
        self._nth[customer] += 1
        if not self._options.customers or self._options.page is not None:
            return  # nobody comes, or by the worker's own link
        # Drawn by the customer and the number of its sessions, so that the order of arrival does not matter.
        chance = Chance(self._options.seed, *customer, self._nth[customer])
        decides = Chance(self._own_seed, *customer) if self._options.customers_keep else chance
        does = decides.of(self._options.customers, NEVER)
        after = None if does in IDLE else chance.between(*self._options.customers_after)
        instruction = Instruction(does, after, trouble=chance.trouble(self._options.webhook_troubles))
        if self._options.customers_by_message and does not in STAY_AWAY:
            self._waiting[opened.token] = instruction
        else:
            self.instruct(opened, instruction)

    def got(self, text: str) -> None:
        """A message with this text has arrived: the customers who have waited for its links begin."""
        for link in LINK.findall(text) if self._waiting else ():
            opened = self.at(link.rstrip(".,;:!?)"))
            instruction = self._waiting.pop(opened.token, None) if opened is not None else None
            if opened is not None and instruction is not None:
                self.instruct(opened, instruction)

    def instruct(self, opened: Opened, instruction: Instruction) -> list[str]:
        """Let the customer do this. Returns the names of the events that will be sent, in order."""
        life = opened.expires_at - self._options.clock()
        does = instruction.does
        after = instruction.after if instruction.after is not None else life if does in IDLE else timedelta(0)
        if does not in (*IDLE, NEVER) and after >= life:
            does, after = "expire", life  # too late: the link has expired by then
        opened.does = does
        reasons = self._options.deny_reasons
        opened.deny_reason = reasons[sum(opened.reference.encode()) % len(reasons)]
        review = self._options.review_after if instruction.review is None else instruction.review
        plan = steps(opened.endpoint, does, review=review, edition=instruction.edition)
        if does == "open":
            opened.state = "opened"
        if plan:
            self._delayed.later(after, functools.partial(self._act, opened, instruction, plan))
        return [step.event for step in plan]

    def address(self, endpoint: str) -> str | None:
        """The address of the endpoint's webhooks: its own, or the common address with its name appended."""
        known = self._options.webhooks
        if endpoint in known:
            return known[endpoint]
        return f"{known['']}/{endpoint}" if "" in known else None

    async def _act(self, opened: Opened, instruction: Instruction, plan: tuple[Step, ...]) -> None:
        if instruction.does == "open" and opened.does != "open":
            return  # the customer has come back before the end, and done something
        acted_at = self._options.clock()
        held_back = []
        for number, step in enumerate(plan):
            await self._delayed.wait(step.after)
            now = self._options.clock()
            body = step.body(opened, acted_at, now)
            opened.state = step.event
            if opened.endpoint == IDENFY_KYC:
                self._partner.decide(opened.client, opened.reference, step.status)
            if (webhook := self._webhook(opened, instruction, step.event, body)) is None:
                continue
            if number == 0:
                await self._delayed.wait(instruction.trouble.late)
            if instruction.trouble.swapped:
                held_back.append(webhook)
            else:
                await self._webhook_sender.send(webhook, instruction.trouble)
        for webhook in reversed(held_back):
            await self._webhook_sender.send(webhook, instruction.trouble)

    def _webhook(
        self, opened: Opened, instruction: Instruction, event: str, fields: Mapping[str, Any]
    ) -> Webhook | None:
        url = instruction.url or self.address(opened.endpoint)
        if url is None:
            return None
        body = encoded(fields)
        if opened.endpoint.startswith("idenfy"):
            key = self._options.webhook_key if instruction.key is None else instruction.key
            return Webhook(
                "idenfy",
                event,
                url,
                body,
                lambda: idenfy_headers(event, body, key),
                opened.client,
                opened.reference,
                forged_headers=idenfy_headers(event, body, WRONG_KEY),
            )
        request_id = fields["requestId"]
        return Webhook(
            "frankieone",
            event,
            f"{url}/{request_id}",
            body,
            lambda: self._frankie_headers(request_id),
            opened.client,
            opened.reference,
            forged_url=f"{url.rpartition('/')[0]}/not-the-secret/{request_id}",
            forged_headers={"Authorization": "Bearer not-a-token"},
        )

    def _frankie_headers(self, request_id: str) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._jwt_key is not None:
            token = frankieone_token(self._jwt_key, request_id, at=self._options.clock())
            headers["Authorization"] = f"Bearer {token}"
        return headers
