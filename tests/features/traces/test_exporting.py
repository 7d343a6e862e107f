"""Spans on their way to a collector, by OpenTelemetry's own variables."""

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from onboarding_worker.features.traces import exporting as module
from onboarding_worker.features.traces.exporting import build_traces
from onboarding_worker.lists.traces import NO_TRACES
from tests.conftest import NOON
from tests.desk.listener import Listener
from tests.suite.waiting import ENDS_WITHIN, wait_until

ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@pytest.fixture
def collector() -> Iterator[Listener]:
    listener = Listener(lambda _request: _answer())
    yield listener
    listener.close()


async def _answer() -> web.Response:
    return web.Response()


def record() -> None:
    traces = build_traces()
    span = traces.of_event(None, NOON, {"event": "onboarding.requested"})
    span.end(NOON + timedelta(seconds=1), "taken")
    traces.close()


def test_spans_reach_the_collector_with_its_key_and_over_no_proxy(collector, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=of-the-environment")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "kyc-worker")
    monkeypatch.setenv(ENDPOINT, collector.url)
    record()
    ((headers, body),) = collector.got
    assert headers["x-api-key"] == "of-the-environment"
    (of_resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    named = {one.key: one.value.string_value for one in of_resource.resource.attributes}
    assert set(named) == {"service.name", "service.version"}
    assert named["service.name"] == "kyc-worker"
    (span,) = of_resource.scope_spans[0].spans
    assert span.name == "take in event"
    assert span.end_time_unix_nano - span.start_time_unix_nano == 10**9


def test_the_sampler_of_the_environment_decides_which_events_are_traced(collector, monkeypatch):
    monkeypatch.setenv(ENDPOINT, collector.url)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    traces = build_traces()
    assert traces.of_event(None, NOON, {}) is None
    assert traces.of_event("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", NOON, {}) is not None
    traces.close()


def test_a_redirect_is_not_followed_and_a_collector_that_is_gone_keeps_no_process_from_ending(monkeypatch, caplog):
    async def elsewhere(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "/other"})

    listener = Listener(elsewhere)
    monkeypatch.setenv(ENDPOINT, listener.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with caplog.at_level(logging.ERROR):
        record()
    assert len(listener.got) == 1
    listener.close()
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.05)
    record()  # returns
    for thread in threading.enumerate():
        if thread.name == "traces":
            thread.join()  # it draws random numbers, which would disturb the property tests after this one


def test_a_collector_whose_answer_has_no_end_gets_the_next_spans_too(monkeypatch):
    async def answer_on_and_on(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with suppress(ConnectionError):
            while True:
                await answer.write(b"a")
                await asyncio.sleep(0.02)
        return answer

    listener = Listener(answer_on_and_on)
    monkeypatch.setenv(ENDPOINT, listener.url)
    traces = build_traces()
    for number in range(1, 3):
        span = traces.of_event(None, NOON, {"event": "onboarding.requested"})
        span.end(NOON, "taken")
        flushing = threading.Thread(target=traces._provider.force_flush, daemon=True)
        flushing.start()
        wait_until(lambda number=number: len(listener.got) == number, "the spans are sent")
    flushing.join(ENDS_WITHIN)
    assert not flushing.is_alive()
    traces.close()
    listener.close()


def test_without_the_variables_or_the_extra_nothing_is_traced(monkeypatch):
    assert build_traces() is NO_TRACES
    monkeypatch.setenv(ENDPOINT, "https://collector.example.com/v1/traces")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert build_traces() is NO_TRACES


def test_a_collector_on_another_machine_is_sent_nothing_without_tls_unless_that_is_switched_off(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example.com:4318")
    assert build_traces() is NO_TRACES
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    traces = build_traces()
    assert traces.on
    traces.close()
