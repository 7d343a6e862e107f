"""Which attributes a message of the bus has. Pure."""

import pytest

from onboarding_worker.core.model.incoming import Event
from onboarding_worker.events.bus.dead_lettering import refused_message
from onboarding_worker.events.bus.messages import PREFIXES, Entry, event_in
from onboarding_worker.events.cloudevents import Unreadable

BODY = b'{"customer_id": "C-1"}'
ATTRIBUTES = {"specversion": "1.0", "type": "onboarding.requested", "source": "/signup", "id": "1"}


def binary(prefix: str, **more: str) -> Entry:
    headers = {prefix + name: value for name, value in ATTRIBUTES.items()}
    return Entry(BODY, "application/json", "utf-8", {**headers, **more})


@pytest.mark.parametrize("prefix", [*PREFIXES, "cloudEvents:", "CE-"])
def test_each_prefix_gives_the_attributes(prefix: str):
    event = event_in(binary(prefix), None)

    assert isinstance(event, Event)
    assert (event.source, event.id) == ("/signup", "1")


def test_an_attribute_that_comes_twice_is_refused_whichever_comes_last(subtests: pytest.Subtests):
    for value in ["customer.erased", "onboarding.requested"]:
        for again in ["cloudEvents_type", "ce-type", "cloudevents:TYPE"]:
            with subtests.test(again=again, value=value):
                message = binary("cloudEvents:", **{again: value})
                headers = dict(reversed(message.headers.items()))

                for one in (message, Entry(message.body, message.content_type, message.content_encoding, headers)):
                    refused = event_in(one, None)

                    assert isinstance(refused, Unreadable)
                    assert "twice" in refused.reason
                    kept = refused_message(one, refused.reason, "q")
                    assert (kept.kind, kept.event) == ("", "")
