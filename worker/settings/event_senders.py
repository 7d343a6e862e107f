"""Senders of events: how each is recognised, and what it may do. One table for HTTP and the bus."""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator

from worker.core.features import hint
from worker.core.model.incoming import EventKind, EventSender
from worker.settings.problems import Findings, Path, suggestion
from worker.settings.secrets import HOW, Secret
from worker.settings.values import Flag, Section, Shown, Text, sender_key, setting

# The types of the CloudEvents that are received.
Received = Literal["onboarding.requested", "onboarding.cancelled", "customer.updated", "customer.erased"]
# The queue of the workers' broker that other projects send Celery tasks to.
REQUESTS = "requests"
HASH = "sha256:"
_HASHED = re.compile(HASH + "[0-9a-f]{64}")


def hash_of(key: str) -> str:
    """A key as the configuration may hold it instead of the key itself.

    A plain SHA-256 is enough: a key of 256 random bits cannot be guessed, so there is nothing that salt or a slow hash
    would protect; and a slow hash for each request would let strangers keep the process busy.
    """
    # As the bytes came: aiohttp keeps those of a header that are not UTF-8 as halves of surrogate pairs.
    return HASH + sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def is_hash(key: str) -> bool:
    return key.startswith(HASH)


def _hash_in_plain(given: Any) -> Any:
    """A hash is no secret: it may be written in the configuration itself."""
    return Secret(str(given)) if type(given) is str and is_hash(given) else given


def _event_key(secret: Secret) -> Secret:
    if secret.is_missing or not is_hash(secret.reveal()):
        return sender_key(secret)
    if not _HASHED.fullmatch(secret.reveal()):
        prints = hint("keys", ", as `onboard keys new --for events` prints them")
        raise ValueError(f"expected {HASH} and 64 hex digits{prints}")
    return secret


def _one_or_more(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


IdPatterns = Annotated[tuple[Text, ...], BeforeValidator(_one_or_more), Shown("string, or a list of strings")]
EventKey = Annotated[Secret, BeforeValidator(_hash_in_plain), AfterValidator(_event_key), Shown("secret")]


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


def queues_published_to(senders: Mapping[str, SenderOfEvents], there: Sequence[str]) -> frozenset[str]:
    """The queues that events of these senders come from: a process must take them. `there`: those of the configuration,
    first the one that `users` publish to."""
    named = {queue for sender in senders.values() for queue in sender.queues}
    named.update(there[:1] if any(sender.users for sender in senders.values()) else ())
    return frozenset(named & set(there))


def check_senders(
    senders: Mapping[str, SenderOfEvents],
    queue: str | None,
    *,
    on_amqp: bool,
    findings: Findings,
) -> None:
    """Check that each sender can be recognised, and none is taken for another.

    `queue` is that of [bus], None without one. `on_amqp`: events can come over RabbitMQ, which names users.
    """
    owners: dict[tuple[str, str], str] = {}
    for name, sender in senders.items():
        path: Path = ("web", "senders", name)
        if not (sender.keys or sender.users or sender.queues):
            findings.consequence(path, f"nothing shows that an event is its own: give it `keys` ({HOW}) or `queues`")
        for position, key in enumerate(sender.keys):
            _claim_key(owners, key, name, (*path, "keys", position), findings)
        for position, user in enumerate(sender.users):
            _claim(owners, ("user", user), name, (*path, "users", position), findings)
        if sender.users and not on_amqp:
            findings.consequence((*path, "users"), "only RabbitMQ says who has published a message: use `queues`")
        for position, name_ in enumerate(sender.queues):
            there = [REQUESTS] if queue is None else [queue, REQUESTS]
            if name_ not in there:
                findings.consequence(
                    (*path, "queues", position), f"events come from no such queue{suggestion(name_, there)}"
                )
            _claim(owners, ("queue", name_), name, (*path, "queues", position), findings)


def _claim_key(owners: dict[tuple[str, str], str], key: Secret, name: str, path: Path, findings: Findings) -> None:
    if not key.is_missing:
        text = key.reveal()
        _claim(owners, ("key", text if is_hash(text) else hash_of(text)), name, path, findings)


def _claim(
    owners: dict[tuple[str, str], str], what: tuple[str, str], name: str, path: Path, findings: Findings
) -> None:
    """Note whose key, user or queue it is; a second claim is a problem."""
    before = owners.setdefault(what, name)
    if before != name:
        findings.consequence(path, f"the same {what[0]} as of web.senders.{before}: the two could not be distinguished")


assert set(get_args(Received)) == {kind.value for kind in EventKind}  # noqa: S101 -- a wrong edit must not start
