"""Subscribers that are quick, slow, hang, redirect, send endless bodies, or are gone."""

import asyncio
import base64
import json
import runpy
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.features.outbox.publishers.contract import Reply
from onboarding_worker.features.outbox.publishers.subscriber import (
    IN_FLIGHT,
    LONGEST_WAIT,
    MOST_FAILURES,
    HttpSubscriber,
)
from onboarding_worker.settings.secrets import Secret
from tests.conftest import NOON
from tests.desk.listener import Listener, answers
from tests.events.outgoing import event, events
from tests.hostile.genuine import standard_webhooks

EXAMPLE = Path(__file__).parents[3] / "examples/receive_events.py"


def publish(listener: Listener, published=None, *, timeout=5.0, keys=("key",), goes_on=lambda: True) -> list[Reply]:
    subscriber = HttpSubscriber(listener.url, [Secret(key) for key in keys], timeout=timedelta(seconds=timeout))
    return subscriber.publish(published or [event(1)], clock=lambda: NOON, goes_on=goes_on)


def refused(listener: Listener, **how: Any) -> Problem:
    """Why the one event was not accepted."""
    (reply,) = publish(listener, **how)
    assert reply.problem is not None
    return reply.problem


def test_an_event_that_is_answered_with_any_2xx_is_accepted(listen):
    for status in (200, 202, 204):
        (reply,) = publish(listen(answers(status)))
        assert reply == Reply(1, NOON)


def test_it_is_the_cloudevent_signed_with_each_key_by_the_standard(listen):
    listener = listen(answers(200))
    raw = base64.b64encode(b"r" * 24).decode()
    publish(listener, keys=("old-key", f"whsec_{raw}"))
    ((headers, body),) = listener.got
    published = json.loads(body)
    assert headers["Content-Type"].startswith("application/cloudevents+json")
    old, new = (standard_webhooks(body, id_=published["id"], key=key) for key in (b"old-key", b"r" * 24))
    expected = old | {"webhook-signature": f"{old['webhook-signature']} {new['webhook-signature']}"}
    assert {name: headers[name] for name in expected} == expected


def test_the_receiver_of_the_examples_accepts_what_is_published_and_nothing_else(listen):
    listener = listen(answers(200))
    new, now = f"whsec_{base64.b64encode(b'r' * 24).decode()}", NOON.timestamp()
    publish(listener, keys=("old-key", new))
    ((sent, body),) = listener.got
    headers = {name.lower(): value for name, value in sent.items()}
    is_genuine = runpy.run_path(str(EXAMPLE))["is_genuine"]  # docs/features/outbox.md names it

    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert [is_genuine(headers, body, key, now) for key in ("old-key", new)] == [True, True]
    assert [is_genuine(headers, body, key, now) for key in ("another", "")] == [False, False]
    assert [is_genuine(headers, body, new, now + late) for late in (300, -300, 301, -301)] == [True, True, False, False]
    assert not is_genuine(headers, body + b" ", new, now)
    assert not is_genuine(headers, body, new)  # by the clock of today
    for name, values in {
        "webhook-id": ["", "another", "é"],
        "webhook-timestamp": ["", "soon", "-1", "١", str(int(now) + 1)],
        "webhook-signature": ["", "v1,", "v1", "é", "\udcff", headers["webhook-signature"].replace("v1,", "v2,")],
    }.items():
        assert not any(is_genuine(headers | {name: value}, body, new, now) for value in values), name
        assert not is_genuine({one: value for one, value in headers.items() if one != name}, body, new, now)


@pytest.mark.parametrize("status", [400, 404, 500, 502])
def test_any_other_answer_is_repeated(listen, status):
    problem = refused(listen(answers(status)))
    assert (problem.kind, problem.detail) == (Kind.TRANSIENT, f"HTTP {status}")


def test_a_subscriber_that_is_gone_never_gets_the_event_again(listen):
    assert refused(listen(answers(410))).kind is Kind.BAD_INPUT


def test_a_redirect_is_not_followed(listen):
    listener = listen(answers(301, Location="/elsewhere"))
    assert "redirect" in refused(listener).detail
    assert len(listener.got) == 1


@pytest.mark.parametrize(("status", "asked", "waits"), [(429, "30", 30), (503, "30", 30), (429, "999999", None)])
def test_a_requested_wait_is_kept_within_bounds(listen, status, asked, waits):
    problem = refused(listen(answers(status, Retry_After=asked)))
    assert problem.kind is Kind.RATE_LIMITED
    assert problem.retry_after == (timedelta(seconds=waits) if waits else LONGEST_WAIT)


async def hang(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


def test_a_subscriber_that_hangs_is_given_up_by_the_time_out(listen):
    problem = refused(listen(hang), timeout=0.1)
    assert (problem.kind, problem.unreachable) == (Kind.TRANSIENT, False)
    assert "time-out" in problem.detail


def test_a_body_without_an_end_does_not_matter(listen):
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=200)
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    (reply,) = publish(listen(endless), timeout=20)
    assert reply.problem is None


def test_a_subscriber_that_cannot_be_reached_gets_one_call(listen):
    listener = listen(answers(200))
    listener.close = lambda close=listener.close: None  # closed here, and not by the fixture again
    Listener.close(listener)
    replies = publish(listener, events(50))
    assert 1 <= len(replies) <= IN_FLIGHT
    assert all(reply.problem is not None and reply.problem.unreachable for reply in replies)


def test_a_failing_subscriber_does_not_get_a_call_for_each_customer(listen):
    listener = listen(answers(500))
    replies = publish(listener, events(100))
    assert MOST_FAILURES <= len(replies) < MOST_FAILURES + IN_FLIGHT
    assert len(listener.got) == len(replies)


def test_one_failing_customer_does_not_stop_the_events_of_the_other_customers(listen):
    async def but_for_one(request: web.Request) -> web.StreamResponse:
        number = json.loads(await request.read())["data"]["job_id"]
        return web.Response(status=500 if number == 7 else 200)

    replies = publish(listen(but_for_one), events(60))
    assert len(replies) == 60
    assert [reply.number for reply in replies if reply.problem is not None] == [7]


def test_a_few_events_are_published_in_parallel(listen):
    met = asyncio.Event()

    async def together(_request: web.Request) -> web.StreamResponse:
        if listener.at_once == IN_FLIGHT:
            met.set()
        await met.wait()
        return web.Response()

    listener = listen(together)
    assert len(publish(listener, events(40), timeout=30)) == 40
    assert listener.most_at_once == IN_FLIGHT


def test_an_ending_process_waits_for_the_answers_to_what_it_has_sent_and_sends_no_more(listen):
    """Else each end of a worker would send these events twice."""
    ending = threading.Event()

    async def answer(_request: web.Request) -> web.StreamResponse:
        ending.set()
        await asyncio.sleep(0.2)
        return web.Response()

    listener = listen(answer)
    replies = publish(listener, events(100), goes_on=lambda: not ending.is_set())
    assert [reply.problem for reply in replies] == [None] * len(replies)
    assert 0 < len(replies) == len(listener.got) < 100


def test_an_ending_process_gives_up_a_subscriber_that_hangs(listen):
    listener = listen(hang)
    assert publish(listener, timeout=600, goes_on=lambda: not listener.at_once) == []
