"""Other systems: who sends us events and what each may do, one table for HTTP and the bus; and where events come and
go."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.model.incoming import EventKind, EventSender
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.settings.addresses import bind_address
from onboarding_worker.settings.problems import Findings, Path, suggestion
from onboarding_worker.settings.secrets import HOW, Secret, sender_key
from onboarding_worker.settings.tls import PresentsCertificate
from onboarding_worker.settings.values import (
    BaseUrl,
    Bind,
    BrokerUrl,
    Flag,
    Name,
    Network,
    Rate,
    Section,
    Shown,
    Text,
    only,
    setting,
)

# The types of the CloudEvents that are received.
Received = Literal["onboarding.requested", "onboarding.cancelled", "customer.updated", "customer.erased"]
# The queue of the workers' broker that other projects send Celery tasks to.
REQUESTS = "requests"
HASH = "sha256:"


def hash_of(key: str) -> str:
    """A key as the configuration may hold it instead of the key itself. A plain SHA-256 is enough: a key of 256 random
    bits cannot be guessed, so there is nothing that salt or a slow hash would protect; and a slow hash for each request
    would let strangers keep the process busy."""
    # As the bytes came: aiohttp keeps those of a header that are not UTF-8 as halves of surrogate pairs.
    return HASH + sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def is_hash(key: str) -> bool:
    return key.startswith(HASH)


def _event_key(secret: Secret) -> Secret:
    if secret.is_missing or not is_hash(secret.reveal()):
        return sender_key(secret)
    if not re.fullmatch(HASH + "[0-9a-f]{64}", secret.reveal()):
        prints = hint("keys", ", as `onboard keys new --for events` prints them")
        raise ValueError(f"expected {HASH} and 64 hex digits{prints}")
    return secret


# A hash is no secret: it may be written in the configuration itself.
_PLAIN = BeforeValidator(lambda given: Secret(str(given)) if type(given) is str and is_hash(given) else given)
EventKey = Annotated[Secret, _PLAIN, AfterValidator(_event_key), Shown("secret")]
_ONE_OR_MORE = BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)
IdPatterns = Annotated[tuple[Text, ...], _ONE_OR_MORE, Shown("string, or a list of strings")]


class SenderOfEvents(Section):
    """A system that sends events, by HTTP or over the bus, and what it may do. NAME is kept with its customers."""

    keys: tuple[EventKey, ...] = setting(
        (),
        "For HTTP: as `Authorization: Bearer KEY`, or to sign with. 32 characters or more; `onboard keys new --for"
        ' events` prints one, and its hash. The hash, `"sha256:…"`, is enough for a key that does not sign.',
    )
    users: tuple[Text, ...] = setting((), "Its users on RabbitMQ, which checks the `user_id` of messages.")
    queues: tuple[Text, ...] = setting(
        (),
        f"The queues whose messages without `user_id` are its own: `queue` of [bus], and `{REQUESTS}` (Celery tasks).",
    )
    types: tuple[Received, ...] = setting(
        get_args(Received), "The types of events that it may send.", "all types", min_length=1
    )
    ids: IdPatterns = setting(
        (),
        'The ids that its events may name, such as "signup-*" (`*`: any characters). With ids of its own no sender can'
        " be the first to name a customer of another's or of a list.",
        "all ids",
    )
    links: Flag = setting(
        False, "true: it gets the customer's link if it waits for one (`Prefer: wait`). Only over HTTP."
    )
    customers: Literal["own", "all"] = setting(
        "own",
        '"own": only customers whom its own requests have made known. "all": also those of lists and of other senders.',
    )

    def rights(self, name: str) -> EventSender:
        """The sender of this name, as events carry it."""
        kinds = frozenset(map(EventKind, self.types))
        return EventSender(name, kinds, links=self.links, every_customer=self.customers == "all", ids=self.ids)


_OTHERS_CANNOT = "amqp(s)://… or redis(s)://…: no other process can reach memory://"


class Bus(PresentsCertificate):
    """Where sign-up events come from, and where our events are published."""

    url: Annotated[BrokerUrl, only(lambda url: not url.startswith("memory"), _OTHERS_CANNOT)] = setting(
        ..., "amqp(s)://… or redis(s)://….", repr=False
    )
    queue: Text = setting(
        "onboarding.requests",
        "The queue of sign-up events, and on RabbitMQ the exchange before it. Notices of refused events go to this"
        " name with `.dead` after it.",
        max_length=200,
    )
    exchange: Text = setting("onboarding.events", "The exchange that our events are published to.", max_length=200)
    declare: Flag = setting(True, "true: `onboard bus` declares its exchanges and queues; false: it only checks them.")
    plain: Received | None = setting(
        None, "The type of JSON objects that are not CloudEvents and name no type.", "refused"
    )


class Web(Section):
    """The web server: webhooks, events, and pages of features."""

    senders: dict[Name, SenderOfEvents] = Field(default_factory=dict)
    bind: Bind = setting(
        "127.0.0.1:8080",
        "Where to listen. An address other than loopback needs a sender's `keys`, or the keys of webhooks or"
        " callbacks.",
    )
    base_url: BaseUrl | None = setting(
        None, "The address at which customers, and Twilio's callbacks, reach `onboard web`."
    )
    event_limit: Rate = setting(
        Limit(1000, timedelta(seconds=1)),
        "The most events that each sender may post, for each process. Each event of a list counts.",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        (),
        "The proxies in front of `web`, as addresses or networks. Their X-Forwarded-For says which"
        " machine is logged, slowed and made to wait after refusals; their X-Forwarded-Proto counts.",
    )

    @property
    def host(self) -> str:
        return bind_address(self.bind)[0]

    @property
    def port(self) -> int:
        return bind_address(self.bind)[1]


def queues_published_to(senders: Mapping[str, SenderOfEvents], there: Sequence[str]) -> frozenset[str]:
    """The queues that events of these senders come from: a process must take them. `there`: those of the configuration,
    first the one that `users` publish to."""
    named = {queue for sender in senders.values() for queue in sender.queues}
    named.update(there[:1] if any(sender.users for sender in senders.values()) else ())
    return frozenset(named & set(there))


def check_senders(
    senders: Mapping[str, SenderOfEvents], bus: Bus | None, broker: PresentsCertificate | None, findings: Findings
) -> None:
    """Check that each sender can be recognised, and none is taken for another."""
    # Events can come over RabbitMQ, which names users.
    on_amqp = any(one.lacks("url") or one.address.startswith("amqp") for one in (bus, broker) if one)
    there = [bus.queue, REQUESTS] if bus else [REQUESTS]
    owners: dict[tuple[str, str], str] = {}
    for name, sender in senders.items():
        path: Path = ("web", "senders", name)
        if not (sender.keys or sender.users or sender.queues):
            findings.consequence(path, f"nothing shows that an event is its own: give it `keys` ({HOW}) or `queues`")
        for position, key in enumerate(sender.keys):
            if not key.is_missing:
                text = key.reveal()
                claimed = ("key", text if is_hash(text) else hash_of(text))
                _claim(owners, claimed, name, (*path, "keys", position), findings)
        for position, user in enumerate(sender.users):
            _claim(owners, ("user", user), name, (*path, "users", position), findings)
        if sender.users and not on_amqp:
            findings.consequence((*path, "users"), "only RabbitMQ says who has published a message: use `queues`")
        for position, queue in enumerate(sender.queues):
            at = (*path, "queues", position)
            if queue not in there:
                findings.consequence(at, f"events come from no such queue{suggestion(queue, there)}")
            _claim(owners, ("queue", queue), name, at, findings)


def _claim(
    owners: dict[tuple[str, str], str], what: tuple[str, str], name: str, path: Path, findings: Findings
) -> None:
    """Note whose key, user or queue it is; a second claim is a problem."""
    before = owners.setdefault(what, name)
    if before != name:
        findings.consequence(path, f"the same {what[0]} as of web.senders.{before}: the two could not be distinguished")


assert set(get_args(Received)) == {kind.value for kind in EventKind}  # noqa: S101 -- a wrong edit must not start
