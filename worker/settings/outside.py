"""Other systems: events that come from them and go to them."""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from worker.core.limits.rate_limits import Limit
from worker.settings.addresses import bind_address
from worker.settings.event_senders import Received, SenderOfEvents
from worker.settings.tls import PresentsCertificate
from worker.settings.values import BaseUrl, Bind, BrokerUrl, Flag, Network, Rate, Section, Text, setting


def _of_several_processes(given: str) -> str:
    if given.startswith("memory"):
        raise ValueError("expected amqp(s)://… or redis(s)://…: no other process can reach memory://")
    return given


class Bus(PresentsCertificate):
    """Where sign-up events come from, and where our events are published."""

    url: Annotated[BrokerUrl, AfterValidator(_of_several_processes)] = setting(
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

    bind: Bind = setting(
        "127.0.0.1:8080",
        "Where to listen. An address other than loopback needs a sender's `keys`, or the keys of webhooks or"
        " callbacks.",
    )
    base_url: BaseUrl | None = setting(
        None, "The address at which customers, and Twilio's callbacks, reach `onboard web`."
    )
    senders: dict[str, SenderOfEvents] = Field(default_factory=dict)
    event_limit: Rate = setting(
        Limit(1000, timedelta(seconds=1)),
        "The most events that each sender may post, for each process. Each event of a list counts.",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        (),
        "The proxies in front of `web`, as addresses or networks. Their X-Forwarded-For says who is logged, and"
        " slowed, after refused keys and signatures; their X-Forwarded-Proto counts.",
    )

    @property
    def host(self) -> str:
        return bind_address(self.bind)[0]

    @property
    def port(self) -> int:
        return bind_address(self.bind)[1]
