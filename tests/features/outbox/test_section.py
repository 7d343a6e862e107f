"""The tables of subscribers."""

from typing import get_args

from onboarding_worker.events.cloudevents import Happened
from onboarding_worker.features.outbox.section import LONGEST_NAME, Published
from tests.settings.samples import problems, tree, with_value

CRM = ("subscribers", "crm")


def test_what_can_be_subscribed_to_is_what_is_published():
    assert set(get_args(Published)) == {kind.value for kind in Happened}


def test_a_name_fits_into_its_column(tmp_path):
    longest = {"n" * LONGEST_NAME: tree()["subscribers"]["crm"]}
    assert problems(tmp_path, tree(subscribers=longest)) == []
    (line,) = problems(tmp_path, tree(subscribers={f"{name}n": one for name, one in longest.items()}))
    assert line.endswith("expected a name of at most 50 letters, digits, - and _")


def test_a_bus_is_a_broker_that_other_processes_reach(tmp_path):
    (line,) = problems(tmp_path, with_value(("bus", "url"), "memory://"))
    assert "no other process can reach memory://" in line


def test_a_subscriber_on_another_machine_has_tls_or_switches_it_off_by_name(tmp_path):
    plain = with_value((*CRM, "url"), "http://crm.internal/hook")
    (line,) = problems(tmp_path, plain)
    assert line.startswith("subscribers.crm.url: ")
    assert problems(tmp_path, with_value((*CRM, "tls"), "off", plain)) == []
    assert problems(tmp_path, with_value((*CRM, "url"), "https://crm.internal/hook")) == []
