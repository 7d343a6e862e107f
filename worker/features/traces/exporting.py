"""Records the spans of rows that are traced, and sends them to a collector: OTLP over HTTP, by OpenTelemetry, which is
the extra `otel`. OpenTelemetry's own variables say where to, and it is imported only where they do. What others give as
a `traceparent` (W3C Trace Context) is ignored in another form, as the specification asks."""

import logging
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.claim.flush import Flushed
from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.tls import is_loopback
from onboarding_worker.core.foundation.version import __version__
from onboarding_worker.core.model.http_messages import MayWrite
from onboarding_worker.core.model.wakeups import WakeUp, WorkStep
from onboarding_worker.lists.traces import NO_TRACES, TRACEPARENT, Facts, Span, Step, Traces
from onboarding_worker.wiring.watching import Tracer

NAMES = {WorkStep.ISSUE: ("claim job", "call provider"), WorkStep.INVITE: ("claim message", "hand over message")}

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor

log = logging.getLogger(__name__)
ROW_SHARE = 0.01  # of the rows of lists begins a trace: of 50,000 rows some 500, with five spans each
# A process that ends sends what is left for so long: a collector that does not answer must not keep it from ending.
CLOSE_SECONDS = 3.0
# Spans that wait to be sent; of more, the oldest are dropped and OpenTelemetry logs it.
WAITING, AT_ONCE = 8192, 512
PREFIX = "onboarding."


def parent_in(given: Any) -> "Context":
    """The context that a `traceparent` names, whatever it is; an empty one if it names none: what the process that
    embeds us traces by itself is not the parent."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({TRACEPARENT: given} if isinstance(given, str) else {}, Context())


class TracedWork:
    """Passes everything on to the given `dispatch.state.Work`, and records each traced row's claim and call."""

    def __init__(self, work: Any, wake_up: WakeUp, traces: Traces, clock: Clock) -> None:
        self._work, self._traces, self._clock = work, traces, clock
        self._claim, self._call = NAMES[wake_up.step]
        kind = "channel" if wake_up.step is WorkStep.INVITE else "account"
        self._facts: Facts = {kind: wake_up.name}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)

    def flush(self, results: Sequence[Any], room: Room | None, *more: Any) -> Flushed[Any]:
        began_at = self._clock()
        flushed: Flushed[Any] = self._work.flush(results, room, *more)
        ended_at = self._clock()
        for item in flushed.opened:
            if item.traceparent is not None:
                step = Step(self._claim, began_at, ended_at, "claimed", self._of(item))
                self._traces.step(item.traceparent, step)
        return flushed

    async def call(self, item: Any, now: datetime, may_write: MayWrite, /) -> Any:
        if item.traceparent is None:
            return await self._work.call(item, now, may_write)
        outcome, failed, written = "crashed", True, True

        def noted(waited: bool) -> bool:
            nonlocal written
            written = may_write(waited)
            return written

        try:
            result = await self._work.call(item, now, noted)
            problem, ending = result.problem, result.ending
            if not written or ending is None:  # the call was not made: the result does not count
                outcome, failed = "not_made", False
            else:
                failed = problem is not None
                outcome = problem.kind.value if failed else type(ending).__name__.lower()
            return result
        finally:
            looks_up = item.unknown_call is not None or getattr(item, "asks_about", None) is not None
            facts = self._of(item) | ({"look_up": "yes"} if looks_up else {})
            step = Step(self._call, now, self._clock(), outcome, facts, failed=failed, leaves=True)
            self._traces.step(item.traceparent, step)

    def _of(self, item: Any) -> dict[str, str | int]:
        job = getattr(item, "job_id", None) or item.id  # of a message, its job's
        return {**self._facts, "batch": item.batch_id, "job": job}


def collector() -> str | None:
    """The collector that OpenTelemetry's own variables name; None: nothing is traced."""
    return os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")


def build_traces() -> Traces:
    """What records this process's spans. It has a thread: make it after a fork."""
    if (address := collector()) is None:
        return NO_TRACES
    url = urlsplit(address)
    is_safe = url.scheme == "https" or is_loopback(url.hostname or "")
    if not is_safe and os.environ.get("OTEL_EXPORTER_OTLP_INSECURE", "").lower() != "true":
        log.warning("nothing is traced: the collector needs https, or OTEL_EXPORTER_OTLP_INSECURE=true")
        return NO_TRACES
    try:
        import requests
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError:
        log.warning("nothing is traced: OpenTelemetry is not installed here: pip install 'onboarding-worker[otel]'")
        return NO_TRACES
    session = requests.Session()
    session.trust_env = False  # as our other clients: no proxy and no password from the environment
    # Only the status counts. A body may have no end, and the time-out is for each read: it is not read.
    session.stream = True
    session.hooks["response"].append(lambda answer, **_: answer.close())
    exporter = OTLPSpanExporter(session=session)
    return OtelTraces(BatchSpanProcessor(exporter, max_queue_size=WAITING, max_export_batch_size=AT_ONCE))


@dataclass(frozen=True)
class _Span:
    span: "trace.Span"

    @property
    def traceparent(self) -> str:
        from opentelemetry.trace import set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        written = dict[str, str]()
        TraceContextTextMapPropagator().inject(written, set_span_in_context(self.span, parent_in(None)))
        return written[TRACEPARENT]

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
        self, processor: "SpanProcessor", *, row_share: float = ROW_SHARE, draw: Callable[[], float] = random.random
    ) -> None:
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider

        # The resource says nothing of this machine but what the variables say.
        named = Resource({"service.name": "onboarding-worker", "service.version": __version__})
        self._provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("onboarding-worker", __version__)
        self._row_share, self._draw = row_share, draw

    def of_event(self, given: Any, at: datetime, facts: Facts) -> Span | None:
        return self._begun(parent_in(given), "take in event", at, facts, "CONSUMER")

    def of_row(self, at: datetime, facts: Facts) -> Span | None:
        if self._draw() >= self._row_share:
            return None
        return self._begun(parent_in(None), "take in row", at, facts, "INTERNAL")

    def of_work(self, work: Any, wake_up: WakeUp, clock: Clock) -> TracedWork:
        return TracedWork(work, wake_up, self, clock)

    def step(self, traceparent: str, step: Step) -> None:
        parent, kind = parent_in(traceparent), "CLIENT" if step.leaves else "INTERNAL"
        if parent and (span := self._begun(parent, step.name, step.began_at, step.facts, kind)):
            span.end(step.ended_at, step.outcome, failed=step.failed)

    def _begun(self, parent: "Context", name: str, at: datetime, facts: Facts, kind: str) -> _Span | None:
        """None: the sampler left it out. `kind`: a name of SpanKind."""
        from opentelemetry.trace import SpanKind

        start, named = _nanoseconds(at), _named(facts)
        span = self._tracer.start_span(name, parent, SpanKind[kind], attributes=named, start_time=start)
        return _Span(span) if span.is_recording() else None

    def close(self) -> None:
        closing = Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


def _named(facts: Facts) -> dict[str, str | int]:
    return {PREFIX + name: value for name, value in facts.items()}


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 10**9)


TRACES = Tracer(build_traces, collector)
