"""Spans on their way to a collector, and what the configuration says of it."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.conftest import NOON
from tests.publishers.listener import Listener
from tests.suite.waiting import ENDS_WITHIN, wait_until
from worker.domain.events.traces import NO_TRACES
from worker.publishers import traces as module
from worker.publishers.traces import build_traces
from worker.settings import SettingsError, load

BASE = """
[database]
url = "sqlite:///onboarding.db"
[accounts.kyc]
provider = "idenfy-kyc"
api_key = { env = "SECRET" }
api_secret = { env = "SECRET" }
[[routes]]
accounts = ["kyc"]
"""
KEY = "kxQ2VvG3q5n2J6m0m6m0wqgq5n2J6m0m6m0wqgq5n2I="


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[str], Any]:
    def read(more: str) -> Any:
        (tmp_path / "onboarding.toml").write_text(BASE + more)
        environ = {"SECRET": "0000", "ONBOARDING_KEY": KEY, "COLLECTOR": "Bearer collector-key"}
        return load(tmp_path / "onboarding.toml", environ=environ)

    return read


@pytest.fixture
def collector() -> Iterator[Listener]:
    listener = Listener(lambda _request: _answer())
    yield listener
    listener.close()


async def _answer() -> web.Response:
    return web.Response()


def record(settings: Any) -> None:
    traces = build_traces(settings)
    span = traces.of_event(None, NOON, {"event": "onboarding.requested"})
    assert span is not None
    span.end(NOON + timedelta(seconds=1), "taken")
    traces.close()


def test_spans_reach_the_collector_with_its_key_and_our_own_names_alone(configured, collector, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=of-the-environment,authorization=other")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/of/the/environment.pem")
    settings = configured(f'[traces]\nurl = "{collector.url}"\nkey = {{ env = "COLLECTOR" }}\nservice = "kyc-worker"')
    record(settings)
    ((headers, body),) = collector.got
    assert headers["Authorization"] == "Bearer collector-key"
    assert "x-api-key" not in headers
    (of_resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    named = {one.key: one.value.string_value for one in of_resource.resource.attributes}
    assert set(named) == {"service.name", "service.version"}
    assert named["service.name"] == "kyc-worker"
    (span,) = of_resource.scope_spans[0].spans
    assert span.name == "take in event"
    assert span.end_time_unix_nano - span.start_time_unix_nano == 10**9


def test_a_redirect_is_not_followed_and_a_collector_that_is_gone_keeps_no_process_from_ending(
    configured, monkeypatch, caplog
):
    async def elsewhere(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "/other"})

    listener = Listener(elsewhere)
    settings = configured(f'[traces]\nurl = "{listener.url}"\ntimeout = "1 s"')
    with caplog.at_level(logging.ERROR):
        record(settings)
    assert len(listener.got) == 1
    listener.close()
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.05)
    record(settings)  # returns
    for thread in threading.enumerate():
        if thread.name == "traces":
            thread.join()  # it draws random numbers, which would disturb the property tests after this one


def test_a_collector_whose_answer_has_no_end_gets_the_next_spans_too(configured):
    async def answer_on_and_on(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with suppress(ConnectionError):
            while True:
                await answer.write(b"a")
                await asyncio.sleep(0.02)
        return answer

    listener = Listener(answer_on_and_on)
    settings = configured(f'[traces]\nurl = "{listener.url}"')
    traces = build_traces(settings)
    for number in range(1, 3):
        span = traces.of_event(None, NOON, {"event": "onboarding.requested"})
        assert span is not None
        span.end(NOON, "taken")
        flushing = threading.Thread(target=traces._provider.force_flush, daemon=True)
        flushing.start()
        wait_until(lambda number=number: len(listener.got) == number, "the spans are sent")
    flushing.join(ENDS_WITHIN)
    assert not flushing.is_alive()
    traces.close()
    listener.close()


def test_without_the_section_nothing_is_traced_and_without_the_extra_it_says_how_to_install_it(configured, monkeypatch):
    assert build_traces(configured("")) is NO_TRACES
    settings = configured('[traces]\nurl = "https://collector.example.com/v1/traces"')
    monkeypatch.setattr(module, "NEEDED", ("opentelemetry.nothing.at_all", "opentelemetry.nothing"))
    with pytest.raises(SettingsError, match=r"pip install 'onboarding-worker\[otel\]'"):
        build_traces(settings)


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ('url = "http://collector.example.com/v1/traces"', "traces.url: expected https"),
        ('url = "https://c.example.com"\nratio = 2', "traces.ratio: expected a number from 0 to 1"),
        ('url = "https://c.example.com"\nrow_ratio = true', "traces.row_ratio: expected a number from 0 to 1"),
        ('url = "https://c.example.com"\nheader = "A\\nB"', "traces.header: expected the name"),
        ('url = "https://c.example.com"\nkey = "in-the-file"', "traces.key"),
        ("ratio = 1", "traces.url"),
    ],
)
def test_a_mistake_in_the_section_names_its_key(configured, section, why):
    with pytest.raises(SettingsError) as raised:
        configured(f"[traces]\n{section}")
    assert why in str(raised.value)


def test_tls_is_as_for_other_clients(configured, tmp_path):
    ca_file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca_file))
    settings = configured(f'[traces]\nurl = "https://c.example.com/v1/traces"\nca = "{ca_file}"')
    session = module._exporter(settings.traces)._client._transport._session
    assert session.verify == str(ca_file)
    assert session.trust_env is False
