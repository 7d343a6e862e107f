"""Other systems: events that come from them and go to them."""

from datetime import timedelta
from typing import Literal

from pydantic import Field

from worker.core.limits.rate_limits import Limit
from worker.features.dashboard.users import Oidc, UserList, Users
from worker.settings.addresses import bind_address
from worker.settings.event_senders import Received, SenderOfEvents
from worker.settings.tls import OwnServer, PresentsCertificate
from worker.settings.values import (
    BaseUrl,
    Bind,
    BrokerUrl,
    Credential,
    Flag,
    Network,
    Rate,
    Section,
    ServerUrl,
    Text,
)

# The types of the CloudEvents that are published.
Published = Literal[
    "session.issued", "invitation.sent", "session.completed", "session.expired", "job.failed", "job.held"
]


class Bus(PresentsCertificate):
    """Where sign-up events come from, and where our events are published."""

    url: BrokerUrl = Field(
        repr=False, description="amqp(s)://… or redis(s)://…. With a password: from the environment or a file."
    )
    queue: Text = Field(
        "onboarding.requests",
        max_length=200,
        description="The queue of sign-up events, and on RabbitMQ the exchange before it that producers publish to;"
        " notices of refused events go to the queue of this name with `.dead` after it.",
    )
    exchange: Text = Field(
        "onboarding.events", max_length=200, description="The exchange that our events are published to."
    )
    declare: Flag = Field(
        True, description="true: `onboard bus` declares its exchanges and queues; false: it only checks them."
    )
    plain: Received | None = Field(
        None,
        description="The type of JSON objects that are not CloudEvents and name no type.",
        json_schema_extra={"default": "refused"},
    )


class Subscriber(OwnServer):
    """Your HTTP endpoint that receives our events, as signed POST requests."""

    url: ServerUrl = Field(description="The endpoint's address; https, or http on loopback.")
    keys: tuple[Credential, ...] = Field(
        min_length=1,
        description="Keys that sign the requests; with several, each key signs, so that keys can be rotated.",
    )
    types: tuple[Published, ...] = Field(
        (), description="Which events to send.", json_schema_extra={"default": "all events"}
    )


class Web(Section):
    """Webhooks and events over HTTP, and the dashboard."""

    bind: Bind = Field(
        "127.0.0.1:8080",
        description="Where to listen. An address other than loopback needs credentials that requests are checked with:"
        " a sender's `keys`, or the keys of webhooks and callbacks.",
    )
    base_url: BaseUrl | None = Field(
        None,
        description="The address at which customers, and Twilio with its delivery callbacks, reach `onboard web`.",
    )
    users: Users = Field(
        default_factory=UserList,
        description='Who may log in to the dashboard: { file = "users.toml" }, which `onboard users add NAME` writes.'
        " Read again when it changes. Without it the dashboard is only for looking, on loopback alone.",
        json_schema_extra={"default": "none"},
    )
    oidc: Oidc | None = None
    senders: dict[str, SenderOfEvents] = Field(default_factory=dict)
    event_limit: Rate = Field(
        Limit(100, timedelta(seconds=1)), description="The most events that each sender may post, for each process."
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (),
        description="The proxies in front of `web`, as addresses or networks: whom they name in X-Forwarded-For is whom"
        " the log names, and who is slowed, after refused keys and signatures; and X-Forwarded-Proto counts.",
        json_schema_extra={"default": "none"},
    )

    @property
    def has_people(self) -> bool:
        """Whether people can log in to the dashboard."""
        return self.users.is_given or self.oidc is not None

    @property
    def host(self) -> str:
        return bind_address(self.bind)[0]

    @property
    def port(self) -> int:
        return bind_address(self.bind)[1]
