"""What takes the place of the network: the sandbox answers calls, takes messages and sends webhooks in this process."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.people.webhook_sender import Webhook
from onboarding_sandbox.server import Sandbox
from onboarding_sandbox.wire import TWILIO, WHATSAPP
from worker.core.customers.customers import Channel
from worker.core.model.endings import AddressIs, Kind, Problem
from worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest, MayWrite
from worker.features.rehearsal.stand_ins import TEXT_HOST, WEBHOOK_SECRET, Browse, host_of
from worker.providers.webhooks.contract import Delivery, Unreadable
from worker.senders.contract import Message, NoLookUp, Receipt
from worker.senders.mime import From, Mailbox, compose
from worker.web.webhooks.sources import Source
from worker.web.webhooks.store.webhooks import Arrived

EMAIL = Channel.EMAIL.value


class Wire:
    """Takes the place of `Http`. `made`: when calls and messages left, by account and channel."""

    def __init__(self, options: SandboxOptions, accounts: Mapping[str, object]) -> None:
        self.sandbox = Sandbox(options, taker=self._take, browse=lambda visit: self.page(visit))
        self.page: Browse  # where customers come by our own links; set before any message leaves
        self.made: dict[str, list[datetime]] = defaultdict(list)
        self.told: Callable[[], None] = lambda: None  # called after a webhook was kept
        self._clock = options.clock
        self._accounts = {host_of(name): name for name in accounts}
        self._owners: dict[str, str] = {}  # the account of each session, by the session's reference
        # Webhooks are checked and read by the source of the account, callbacks by that of the channel; and kept if they
        # are good. Set before any message leaves.
        self.sources: Mapping[str, Source]
        self.senders: Mapping[str, Source]
        self.keep: Callable[[Sequence[Arrived]], object]

    def counts(self) -> dict[str, int]:
        """How many calls and messages there were."""
        return {name: len(times) for name, times in self.made.items()}

    async def call(
        self,
        request: HttpRequest,
        *,
        timeout: timedelta,  # noqa: ASYNC109 -- as Http's
        may_write: MayWrite | None = None,
    ) -> HttpAnswer | Broken:
        if may_write is not None:
            may_write(False)
        host = urlsplit(request.url).netloc
        account = self._accounts.get(host)
        sends = host == TEXT_HOST and request.method == "POST"  # a GET sends nothing
        made = account or (_channel(request) if sends else None)
        if made is not None:
            self.made[made].append(self._clock())
        answer = self.sandbox.answer(request.method, request.url, request.headers, request.body)
        if answer is None:
            return HttpAnswer(404)
        opened = self.sandbox.customers.find(answer.token) if account and answer.token else None
        if account and opened is not None:
            self._owners[opened.reference] = account
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return HttpAnswer(answer.status, {"content-type": answer.content_type, **headers}, answer.encoded())

    async def close(self) -> None:
        """As a sender's client has it: there is nothing to close."""

    def _take(self, webhook: Webhook, headers: Mapping[str, str]) -> int:
        last = webhook.url.rpartition("/")[2]
        is_callback = webhook.family == TWILIO
        owner = self._owners.get(webhook.reference or "", "")
        source = self.senders.get(last) if is_callback else self.sources.get(owner)
        if source is None:
            return 404
        path = (WEBHOOK_SECRET, last) if webhook.family == "frankieone" else ()
        delivery = Delivery(webhook.body, {name.lower(): value for name, value in headers.items()}, path)
        if source.refuses(delivery, ""):
            return 401
        arrived = source.read(delivery)
        if isinstance(arrived, Unreadable):
            return arrived.status
        self.keep([arrived] if isinstance(arrived, Arrived) else arrived)
        self.told()
        return 200


def _channel(request: HttpRequest) -> str:
    (to,) = parse_qs((request.body or b"").decode())["To"]
    return Channel.WHATSAPP.value if to.startswith(WHATSAPP) else Channel.SMS.value


class MailWire(NoLookUp):
    """The sender of emails: each is made as it would be sent, and then is gone."""

    def __init__(self, wire: Wire, from_: str, clock: Callable[[], datetime]) -> None:
        self._wire, self._from, self._clock = wire, From.read(from_), clock

    def repeatable(self) -> bool:
        return True

    async def preflight(self) -> Problem | None:
        return None

    async def send(self, message: Message, may_write: MayWrite | None = None) -> Receipt | Problem:
        if may_write is not None:
            may_write(False)
        to = Mailbox.read(message.to)
        if to is None:
            return Problem(Kind.BAD_INPUT, "the address is not a valid mail address", address=AddressIs.REFUSED)
        compose(message, sender=self._from, to=to)
        self._wire.made[EMAIL].append(self._clock())
        self._wire.sandbox.visitors.got(to.address, message.text)
        return Receipt()

    async def close(self) -> None:
        pass
