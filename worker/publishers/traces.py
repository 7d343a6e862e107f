"""Sends spans to a collector: OTLP over HTTP, by OpenTelemetry, which is the extra `otel`.

OpenTelemetry is imported when traces are configured, never otherwise.
"""

import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.util import find_spec
from threading import Thread
from typing import TYPE_CHECKING, Any

from worker.domain.events.traces import NO_TRACES, Context, Facts, Span, Traces, context_of
from worker.foundation.tls import Tls
from worker.foundation.version import __version__
from worker.settings import Settings, SettingsError
from worker.settings.outside import TracesTo

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor

NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
INSTALL = "traces: OpenTelemetry is not installed here: pip install 'onboarding-worker[otel]'"
# A process that ends sends what is left for so long: a collector that does not answer must not keep it from ending.
CLOSE_SECONDS = 3.0
# Spans that wait to be sent; of more, the oldest are dropped and OpenTelemetry logs it.
WAITING, AT_ONCE = 8192, 512
NANOSECONDS = 10**9
PREFIX = "onboarding."
OF_EACH_REQUEST = frozenset(
    {"accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "user-agent"}
)


def check_traces_are_installed(settings: Settings) -> None:
    """Raise SettingsError, with what to install, where traces are configured and OpenTelemetry is not there."""
    if settings.traces is not None and not all(map(_is_there, NEEDED)):
        raise SettingsError([INSTALL])


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its package
        return False


def build_traces(settings: Settings) -> Traces:
    """What records this configuration's spans. It has a thread: make it after a fork. Raises SettingsError."""
    to = settings.traces
    if to is None:
        return NO_TRACES
    check_traces_are_installed(settings)
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    processor = BatchSpanProcessor(_exporter(to), max_queue_size=WAITING, max_export_batch_size=AT_ONCE)
    return OtelTraces(processor, service=to.service, ratio=to.ratio, row_ratio=to.row_ratio)


def _exporter(to: TracesTo) -> Any:
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    session = requests.Session()
    session.trust_env = False  # as our other clients: no proxy and no password from the environment
    # Only the status counts. A body may have no end, and `timeout` is for each read: it is not read.
    session.stream = True
    session.hooks["response"].append(lambda answer, **_: answer.close())
    session.auth = partial(_only_ours, OF_EACH_REQUEST | {to.header.lower()})
    exporter = OTLPSpanExporter(
        to.url,
        headers={to.header: to.key.reveal()} if to.key is not None else {},
        timeout=to.timeout.total_seconds(),
        session=session,
    )
    # Set after the exporter has set what the variables of OpenTelemetry name.
    tls = to.protection or Tls()
    session.verify = str(tls.ca or ssl.get_default_verify_paths().cafile or "") or True
    session.cert = (str(tls.certificate), str(tls.key or tls.certificate)) if tls.certificate else None
    return exporter


def _only_ours(names: frozenset[str], request: Any) -> Any:
    """The request without the headers that only a variable of OpenTelemetry names."""
    for name in [name for name in request.headers if name.lower() not in names]:
        del request.headers[name]
    return request


@dataclass(frozen=True)
class _Span:
    span: "trace.Span"

    @property
    def traceparent(self) -> str:
        context = self.span.get_span_context()
        return str(Context(context.trace_id, context.span_id))

    def end(self, at: datetime, outcome: str, *, failed: bool = False, facts: Facts | None = None) -> None:
        from opentelemetry.trace import StatusCode

        self.span.set_attributes(_named({"outcome": outcome, **(facts or {})}))
        if failed:
            self.span.set_status(StatusCode.ERROR)
        self.span.end(_nanoseconds(at))


class OtelTraces(Traces):
    """Records spans with OpenTelemetry. Safe for threads."""

    on = True

    def __init__(
        self,
        processor: "SpanProcessor",
        *,
        service: str,
        ratio: float,
        row_ratio: float,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`ratio`: which share of events begins a trace of its own, `row_ratio`: which share of the rows of lists."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        # Whether a span is recorded is decided before it begins. The resource says nothing of this machine.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource({"service.name": service, "service.version": __version__}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("onboarding-worker", __version__)
        self._ratio, self._row_ratio, self._draw = ratio, row_ratio, draw

    def of_event(self, given: Any, at: datetime, facts: Facts) -> Span | None:
        from opentelemetry.trace import SpanKind

        parent = context_of(given)
        if not (parent.sampled if parent is not None else self._draw() < self._ratio):
            return None
        return self._begun(parent, "take in event", at, facts, SpanKind.CONSUMER)

    def of_row(self, at: datetime, facts: Facts) -> Span | None:
        from opentelemetry.trace import SpanKind

        if self._draw() >= self._row_ratio:
            return None
        return self._begun(None, "take in row", at, facts, SpanKind.INTERNAL)

    def step(
        self,
        traceparent: str,
        name: str,
        began_at: datetime,
        ended_at: datetime,
        outcome: str,
        facts: Facts,
        *,
        failed: bool = False,
        leaves: bool = False,
    ) -> None:
        from opentelemetry.trace import SpanKind

        parent = context_of(traceparent)
        if parent is not None:
            kind = SpanKind.CLIENT if leaves else SpanKind.INTERNAL
            self._begun(parent, name, began_at, facts, kind).end(ended_at, outcome, failed=failed)

    def _begun(self, parent: Context | None, name: str, at: datetime, facts: Facts, kind: "trace.SpanKind") -> _Span:
        from opentelemetry.context import Context as Nothing
        from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

        # An own context: what the process that embeds us traces by itself is not the parent.
        within = Nothing()
        if parent is not None:
            remote = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=TraceFlags(1))
            within = set_span_in_context(NonRecordingSpan(remote), within)
        return _Span(self._tracer.start_span(name, within, kind, attributes=_named(facts), start_time=_nanoseconds(at)))

    def close(self) -> None:
        closing = Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


def _named(facts: Facts) -> dict[str, str | int]:
    return {PREFIX + name: value for name, value in facts.items()}


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * NANOSECONDS)
