"""[web.senders.NAME]: who sends events, and what each may do."""

from pathlib import Path
from typing import Any

import pytest

from onboarding_worker.core.model.incoming import EventKind, EventSender
from onboarding_worker.settings.outside import hash_of, queues_published_to
from tests.settings.samples import loaded, problems, tree

KEY, OTHER = {"env": "EVENTS_KEY"}, {"env": "OTHER_KEY"}
KEYS = {"EVENTS_KEY": "k" * 31 + "1", "OTHER_KEY": "k" * 31 + "2"}


def with_senders(**senders: dict[str, Any]) -> dict[str, Any]:
    return tree(web={"senders": senders})


def found(directory: Path, **senders: dict[str, Any]) -> list[str]:
    return problems(directory, with_senders(**senders), **KEYS)


def test_a_sender_has_the_least_rights_unless_they_are_written(tmp_path: Path) -> None:
    senders = loaded(tmp_path, with_senders(signup={"keys": [KEY]})).web.senders

    assert senders["signup"].rights("signup") == EventSender("signup", frozenset(EventKind))


def test_each_right_is_given_by_name(tmp_path: Path) -> None:
    rights = {"types": ["customer.erased"], "links": True, "customers": "all", "ids": "signup-*"}
    senders = loaded(tmp_path, with_senders(privacy={"keys": [KEY], **rights})).web.senders

    expected = EventSender("privacy", frozenset({EventKind.ERASED}), links=True, every_customer=True, ids=("signup-*",))
    assert senders["privacy"].rights("privacy") == expected


def test_the_ids_of_a_sender_are_one_pattern_or_several(tmp_path: Path) -> None:
    several = loaded(tmp_path, with_senders(signup={"keys": [KEY], "ids": ["signup-*", "app-*"]})).web.senders
    assert several["signup"].rights("signup").ids == ("signup-*", "app-*")
    for wrong in ("", ["signup-*", ""], ["a\nb"], 5):
        (line,) = found(tmp_path, signup={"keys": [KEY], "ids": wrong})
        assert line.startswith("web.senders.signup.ids")


def test_a_key_may_be_written_as_its_hash_and_as_nothing_else(tmp_path: Path) -> None:
    key = "a-key-of-at-least-32-characters-x"
    assert found(tmp_path, signup={"keys": [hash_of(key)]}) == []
    for wrong in (key, "sha256:abc", hash_of(key).upper(), f"{hash_of(key)}0"):
        (line,) = found(tmp_path, signup={"keys": [wrong]})
        assert line.startswith("web.senders.signup.keys[1]: ")
        assert wrong not in line


def test_a_variable_may_hold_a_hash_too(tmp_path: Path) -> None:
    assert problems(tmp_path, with_senders(signup={"keys": [KEY]}), EVENTS_KEY=hash_of("x")) == []


@pytest.mark.parametrize("short", ["x", "k" * 31])
def test_a_short_key_refuses_the_start_and_is_not_shown(short: str, tmp_path: Path) -> None:
    (line,) = problems(tmp_path, with_senders(signup={"keys": [KEY]}), EVENTS_KEY=short)

    assert line.startswith("web.senders.signup.keys[1]: expected at least 32 characters")
    assert f"{short} " not in line


def test_nothing_may_belong_to_two_senders(tmp_path: Path) -> None:
    for what, one in (("keys", KEY), ("users", "app"), ("queues", "onboarding.requests")):
        (line,) = found(tmp_path, signup={what: [one]}, billing={what: [one]})
        assert line.startswith(f"web.senders.billing.{what}[1]: the same {what[:-1]} as of web.senders.signup: ")
    hashed = found(tmp_path, signup={"keys": [KEY]}, billing={"keys": [hash_of(KEYS["EVENTS_KEY"])]})
    assert len(hashed) == 1
    assert found(tmp_path, signup={"keys": [KEY, KEY]}, billing={"keys": [OTHER]}) == []


def test_a_sender_that_nothing_shows_is_a_mistake(tmp_path: Path) -> None:
    (line,) = found(tmp_path, signup={"links": True})
    assert line.startswith("web.senders.signup: nothing shows that an event is its own")


def test_a_queue_must_be_one_that_events_come_from(tmp_path: Path) -> None:
    (line,) = found(tmp_path, signup={"queues": ["onboarding.request"]})
    assert line == ("web.senders.signup.queues[1]: events come from no such queue; did you mean `onboarding.requests`?")
    without = with_senders(signup={"queues": ["onboarding.requests"]})
    del without["bus"]
    (line,) = problems(tmp_path, without)
    assert line.startswith("web.senders.signup.queues[1]: events come from no such queue")
    assert found(tmp_path, signup={"queues": ["requests"]}) == []


def test_the_queues_that_need_a_process_are_those_that_senders_publish_to(tmp_path: Path) -> None:
    both = ["onboarding.requests", "requests"]
    of_keys = loaded(tmp_path, with_senders(signup={"keys": [KEY]})).web.senders
    of_queues = loaded(tmp_path, with_senders(signup={"queues": ["requests"]})).web.senders
    of_users = loaded(tmp_path, with_senders(signup={"users": ["signup"]})).web.senders

    assert queues_published_to({}, both) == queues_published_to(of_keys, both) == set()
    assert queues_published_to(of_queues, both) == {"requests"}
    assert queues_published_to(of_queues, []) == set()  # no broker is configured
    assert queues_published_to(of_users, both) == {"onboarding.requests"}
    assert queues_published_to(of_users, ["requests"]) == {"requests"}


def test_only_rabbitmq_names_users(tmp_path: Path) -> None:
    configuration = with_senders(signup={"users": ["app"]})
    assert problems(tmp_path, configuration) == []
    configuration["bus"] = {"url": "redis://127.0.0.1"}
    (line,) = problems(tmp_path, configuration)
    assert line == "web.senders.signup.users: only RabbitMQ says who has published a message: use `queues`"


def test_a_mistake_in_one_sender_leaves_the_rest_checked(tmp_path: Path) -> None:
    lines = problems(
        tmp_path,
        tree(
            web={"bind": "nowhere", "senders": {"signup": {"keys": [KEY], "typs": []}, "b c": {"queues": ["requests"]}}}
        ),
    )
    assert [line.partition(": ")[0] for line in lines] == ["web.senders.signup.typs", 'web.senders."b c"', "web.bind"]
