"""Other systems: events that come from them, over a bus or HTTP, and events that are published to them."""

from datetime import timedelta
from typing import Literal

from pydantic import Field

from worker.domain.limits.rate_limits import Limit
from worker.settings.addresses import bind_address
from worker.settings.event_senders import EVENTS, EventKey, Received, Sender
from worker.settings.tls import Client
from worker.settings.users import Users
from worker.settings.values import (
    Bind,
    BrokerUrl,
    Credential,
    Duration,
    Flag,
    Network,
    Rate,
    Section,
    ServerUrl,
    Text,
    Whole,
)

# The types of the CloudEvents that are published.
Published = Literal[
    "session.issued", "invitation.sent", "session.completed", "session.expired", "job.failed", "job.held"
]


class Bus(Client):
    """Where sign-up events come from, and where our events are published."""

    url: BrokerUrl = Field(
        repr=False, description="amqp(s)://… or redis(s)://…. With a password: from the environment or a file."
    )
    queue: Text = Field(
        "onboarding.requests",
        max_length=200,
        description="The queue of sign-up events; notices of refused events go to the queue of this name with `.dead`"
        " after it.",
    )
    source_exchange: Text = Field(
        "onboarding.requests",
        max_length=200,
        description="The exchange that producers publish to, bound to the queue (RabbitMQ).",
    )
    exchange: Text = Field(
        "onboarding.events", max_length=200, description="The exchange that our events are published to."
    )
    declare: Flag = Field(
        True, description="true: `onboard bus` declares its exchanges and queues; false: it only checks them."
    )
    prefetch: Whole = Field(
        200, ge=1, le=5000, description="The most events that are read from the broker at once and committed together."
    )
    plain: Received | None = Field(
        None,
        description="The type of JSON objects that are not CloudEvents and name no type.",
        json_schema_extra={"default": "refused"},
    )


class Subscriber(Client):
    """Your HTTP endpoint that receives our events, as signed POST requests."""

    url: ServerUrl = Field(description="The endpoint's address; https, or http on loopback.")
    keys: tuple[Credential, ...] = Field(
        min_length=1,
        description="Keys that sign the requests; with several, each key signs, so that keys can be rotated.",
    )
    types: tuple[Published, ...] = Field(
        (), description="Which events to send.", json_schema_extra={"default": "all events"}
    )
    timeout: Duration = Field(
        timedelta(seconds=10),
        ge=timedelta(milliseconds=50),
        le=timedelta(minutes=1),
        description="How long one POST may take.",
    )
    give_up: Duration = Field(
        timedelta(days=3), ge=timedelta(minutes=1), description="How long an event that is not accepted is repeated."
    )


class Web(Section):
    """Webhooks and events over HTTP."""

    bind: Bind = Field(
        "127.0.0.1:8080",
        description="Where to listen. An address other than loopback needs credentials that requests are checked with:"
        " a sender's `keys`, or the keys of webhooks and callbacks.",
    )
    users: Users = Field(
        default_factory=dict,
        description="Users of a dashboard, which is not in this release: `web` and `up` refuse it, and other commands"
        ' warn. { file = "users.toml" } with a line `name = "password"` for each user, or a table of secrets.',
        json_schema_extra={"default": "none"},
    )
    event_keys: tuple[EventKey, ...] = Field(
        (),
        description=f"The short form of [web.senders.{EVENTS}]: the keys of a sender over HTTP that may do everything"
        " and gets links. At least 32 characters; `onboard keys new --for events` prints one.",
    )
    senders: dict[str, Sender] = Field(default_factory=dict)
    event_limit: Rate = Field(
        Limit(100, timedelta(seconds=1)), description="The most events that each sender may post, for each process."
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (),
        description="The proxies in front of `web`, as addresses or networks: whom they name in X-Forwarded-For is whom"
        " the log names, and who is slowed, after refused keys and signatures.",
        json_schema_extra={"default": "none"},
    )

    @property
    def posting(self) -> dict[str, Sender]:
        """The senders over HTTP, by name."""
        if not self.event_keys:
            return self.senders
        return {EVENTS: Sender(keys=self.event_keys, links=True, customers="all"), **self.senders}

    @property
    def host(self) -> str:
        return bind_address(self.bind)[0]

    @property
    def port(self) -> int:
        return bind_address(self.bind)[1]
