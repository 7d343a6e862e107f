"""One trace from an event, or from a row of a list, to its message and its webhook."""

import asyncio
import io
import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from onboarding_worker.core.database.tables import Job, SessionRow
from onboarding_worker.core.model.http_messages import Broken
from onboarding_worker.core.rules.limits import LAPSE
from onboarding_worker.features.traces.exporting import OtelTraces
from onboarding_worker.lists.importing.judging import options_of
from onboarding_worker.lists.importing.list_import import import_list
from onboarding_worker.web.webhooks.store.webhooks import Arrived, process_webhooks, update_as_json
from tests.simulated.events import cancelled, requested
from tests.simulated.world import FAILED, World
from tests.stored.webhook_feed import APPROVED

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{SPAN}-01"


class Collector:
    """What two processes have sent, and how they record it."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()

    def traces(self, *, row_share: float = 1.0, draw: Callable[[], float] = random.random) -> OtelTraces:
        """What one process records with."""
        processor = SimpleSpanProcessor(self._kept)
        return OtelTraces(processor, row_share=row_share, draw=draw)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._kept.get_finished_spans()

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]

    def one(self, name: str) -> ReadableSpan:
        (span,) = (span for span in self.spans if span.name == name)
        return span


def facts(span: ReadableSpan) -> dict[str, Any]:
    return {name.removeprefix("onboarding."): value for name, value in (span.attributes or {}).items()}


@pytest.fixture
def collector() -> Collector:
    return Collector()


async def two_processes(make: Callable[..., World], collector: Collector, **how: Any) -> tuple[World, World]:
    """One that takes customers in and issues, and another over the same database that sends."""
    first = make(traces=collector.traces(), **how)
    second = make(traces=collector.traces(), **how)
    return first, second


async def test_one_trace_leads_from_an_event_over_two_processes_to_its_mail_and_its_webhook(make, collector):
    first, second = await two_processes(make, collector)
    first.receiver().receive([requested("C-1", of={"traceparent": GIVEN})])
    await first.issue()
    await second.invite()
    session = second.row(SessionRow)
    update = replace(APPROVED, match=((APPROVED.match[0][0], session.reference),))
    arrived = Arrived("account/kyc", second.parts.keyring.digests("webhook", "1"), update.event, update_as_json(update))
    second.parts.webhooks.keep([arrived], now=second.clock())
    process_webhooks(second.parts.webhooks, second.clock, second.parts.meters, second.parts.traces)

    root = collector.one("take in event")
    steps = ["claim job", "call provider", "claim message", "hand over message", "apply webhook"]
    assert collector.names == ["take in event", *steps]
    assert (f"{root.parent.trace_id:032x}", f"{root.parent.span_id:016x}") == (TRACE, SPAN)
    for name in steps:
        span = collector.one(name)
        assert f"{span.context.trace_id:032x}" == TRACE
        assert span.parent.span_id == root.context.span_id
        assert span.start_time <= span.end_time
    job = second.row(Job)
    assert facts(root) == {"event": "onboarding.requested", "sender": "", "outcome": "taken", "job": job.id}
    assert facts(collector.one("call provider")) == {
        "account": "kyc",
        "batch": job.batch_id,
        "job": job.id,
        "outcome": "done",
    }
    assert facts(collector.one("hand over message"))["channel"] == "email"
    assert facts(collector.one("apply webhook")) == {"source": "account/kyc", "outcome": "applied"}
    assert collector.one("call provider").kind is SpanKind.CLIENT
    assert root.kind is SpanKind.CONSUMER


async def test_a_call_that_was_not_written_when_its_connection_was_there_is_no_failure_in_its_trace(make, collector):
    world = make(traces=collector.traces(), limits=["20/second"])
    call, cold = world.http.call, [LAPSE.total_seconds() + 0.1]

    async def connecting(request, *, timeout, may_write):  # noqa: ASYNC109  # as Http's
        if cold:
            await asyncio.sleep(cold.pop())
            assert not may_write(True)
            return Broken(sent=False, detail="too late")
        return await call(request, timeout=timeout, may_write=may_write)

    world.http.call = connecting
    world.receiver().receive([requested("C-1", of={"traceparent": GIVEN})])
    await world.issue()
    calls = [span for span in collector.spans if span.name == "call provider"]
    assert [facts(span)["outcome"] for span in calls] == ["not_made", "done"]
    assert {span.status.status_code for span in calls} == {StatusCode.UNSET}


async def test_no_attribute_of_any_span_has_a_persons_data_a_token_or_a_link(make, collector):
    first, second = await two_processes(make, collector, outcomes=[FAILED])
    secret = {"first_name": "Quirin", "phone": "+37060000001", "date_of_birth": "1990-01-02"}
    first.receiver().receive([requested("CUST-77", email="quirin@example.org", **secret), cancelled("CUST-78")])
    await first.issue()
    first.clock.advance(seconds=60)
    await first.issue()
    await second.invite()
    # Ids are random, and an id or the microseconds of a time may have the digits of a year.
    said = re.sub(r"0x[0-9a-f]+|20\d\d-[\d-]+T[\d:.]+Z", "", "".join(span.to_json() for span in collector.spans))
    session = second.row(SessionRow)
    (message,) = second.senders["email"].messages
    link = message.text.partition("https://")[2].split()[0]
    for value in ("CUST-7", "quirin", "Quirin", "+370", "1990", session.reference, link, "/signup", "http"):
        assert value not in said
    assert {span.status.status_code.name for span in collector.spans if span.name == "call provider"} == {
        "ERROR",
        "UNSET",
    }


async def test_a_trace_that_its_sender_does_not_sample_is_not_recorded(make, collector):
    first, second = await two_processes(make, collector)
    first.receiver().receive([requested("C-1", of={"traceparent": GIVEN[:-1] + "0"})])
    await first.issue()
    await second.invite()
    assert collector.names == []
    assert first.row(Job).traceparent is None


@pytest.mark.parametrize("hostile", ["00-0", "x" * 10_000, f"ff-{TRACE}-{SPAN}-01", 7, f"{GIVEN}\r\nA: b"])
async def test_a_traceparent_of_another_form_is_ignored_and_a_trace_is_begun(make, collector, hostile):
    first, _ = await two_processes(make, collector)
    (receipt,) = first.receiver().receive([requested("C-1", of={"traceparent": hostile})]).receipts
    assert receipt.job_id is not None
    root = collector.one("take in event")
    assert root.parent is None
    here = f"00-{root.context.trace_id:032x}-{root.context.span_id:016x}-{root.context.trace_flags:02x}"
    assert first.row(Job).traceparent == here


async def test_without_traces_nothing_of_a_trace_is_kept(make):
    world = make()
    world.receiver().receive([requested("C-1", of={"traceparent": GIVEN})])
    await world.work()
    assert world.row(Job).traceparent is None
    assert not world.parts.traces.on
    assert world.states() == {"invited": 1}


async def test_refused_and_repeated_events_have_a_span_that_says_so(make, collector):
    world, _ = await two_processes(make, collector)
    one = requested("C-1")
    world.receiver().receive([one, one, requested("C-2", email="wrong")])
    outcomes = [facts(span)["outcome"] for span in collector.spans]
    assert outcomes == ["taken", "duplicate", "refused"]
    assert collector.spans[0].context.trace_id != collector.spans[1].context.trace_id


def import_rows(world: World, count: int) -> None:
    rows = "".join(f"C-{number},c{number}@example.org,LT\n" for number in range(count))
    content = io.BytesIO(f"customer_id,email,country\n{rows}".encode())
    intake = world.parts.intake
    import_list(intake, world.parts.batches, content, options_of(intake), name="list.csv")


@pytest.mark.both_databases
async def test_a_share_of_a_lists_rows_is_traced_and_the_others_cost_nothing(make, collector):
    drawn = iter([0.5, 0.001, *[0.5] * 18])
    world = make(traces=collector.traces(row_share=0.01, draw=lambda: next(drawn)))
    import_rows(world, 20)
    traced = [row for row in world.rows(Job) if row.traceparent is not None]
    assert [row.row for row in traced] == [3]
    assert facts(collector.one("take in row")) == {"batch": traced[0].batch_id, "row": 3, "outcome": "taken"}
    await world.issue()
    await world.invite()
    assert world.states() == {"invited": 20}
    assert collector.names == ["take in row", "claim job", "call provider", "claim message", "hand over message"]
    assert json.loads(collector.one("call provider").to_json())["attributes"]["onboarding.job"] == traced[0].id
