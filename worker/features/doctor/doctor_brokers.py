"""What `onboard doctor` says of the brokers and their queues."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onboarding_worker.cli.feature_checks import Finding, failure, ok, warning
from onboarding_worker.core.foundation.connection_failures import certificate_help, in_words, refusal
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.core.foundation.tls import Tls
from onboarding_worker.features.doctor.destinations import where_is
from onboarding_worker.settings.model import Settings
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.watching import targets_of

if TYPE_CHECKING:
    from onboarding_worker.events.brokers.connection import QueueState

CONNECT_SECONDS = 5
FULL = "look at its memory and disk, and whether this user may write (`rabbitmq-diagnostics alarms`, `redis-cli info`)"
# The notice of an event that was dropped, erased or removed after its time stays: the database has no broker at hand.
NOTICES = "`onboard events dead list` shows the kept events; docs/reference/bus.md says how to remove the notices"


@dataclass(frozen=True)
class Needed:
    """A queue that the configuration needs. `makes`: the command that declares it, "" if a person must. `without`: what
    does not happen while no process consumes it; "" for a queue that is read by hand. `optional`: not all use it."""

    name: str
    makes: str
    consumes: str
    without: str
    optional: bool = False


def check_brokers(parts: Parts) -> Iterator[Finding]:
    """A line for each broker, and below it one for each queue."""
    settings = parts.settings
    for name, section in (("broker", settings.broker), ("bus", settings.bus)):
        if section is not None and (where := where_is(settings, name)):
            yield from _one(settings, name, where, section.url, section.protection)
        elif section is not None:
            yield ok(name, "none: one process does all work (`onboard run` or `onboard up`)")


def _one(settings: Settings, name: str, where: str, url: str, tls: Tls | None) -> Iterator[Finding]:
    # Imported here: kombu takes a tenth of a second.
    from onboarding_worker.events.brokers.connection import connection_to, prove_it_takes_messages, states_of

    connection: Any = connection_to(url, tls=tls)  # kombu has no types
    try:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=CONNECT_SECONDS)
        needed, on_amqp = _needed(settings, name), url.startswith("amqp")
        states = states_of(connection, [one.name for one in needed], on_amqp=on_amqp)
        if name == "broker":  # at that of the bus this user may have no right to write
            try:
                prove_it_takes_messages(connection, on_amqp=on_amqp, seconds=CONNECT_SECONDS)
            except Exception as error:  # as below
                yield failure(name, f"{where} answers, and takes no messages: {in_words(error)}", FULL)
                return
        yield ok(name, f"{where} answers")
    except Exception as error:  # each transport has its own exceptions, and their texts may hold the URL
        words = in_words(error)
        hint = f"check [{name}] url, and " + ("what the server logs" if refusal(error) else "whether the server runs")
        yield failure(name, f"{where}: {words}", certificate_help(words, name) or hint)
    else:
        for queue, state in zip(needed, states, strict=True):
            yield _queue(queue, state)
    finally:
        connection.release()


def _needed(settings: Settings, name: str) -> list[Needed]:
    """The queues at the broker of the workers, or at that of the bus."""
    from onboarding_worker.events.bus.sources import sources_of
    from onboarding_worker.runtime.celery_settings import WITHOUT
    from onboarding_worker.settings.queue_names import PUBLISH

    found = []
    if name == "broker":
        publishes = targets_of(settings)
        wanted = [queue for queue in WITHOUT if queue != PUBLISH or publishes]
        prefix = settings.broker.prefix
        found = [Needed(prefix + queue, "onboard worker", "onboard worker", WITHOUT[queue]) for queue in wanted]
    for source in sources_of(settings):
        if source.setting == f"{name}.url" and source.senders.has_any:
            makes, topology = "onboard bus" if source.declare else "", source.topology
            other = name == "broker"  # tasks of other projects: few installations have them
            found.append(Needed(topology.queue, makes, "onboard bus", "no event of it is taken", other))
            if topology.on_amqp:
                found.append(Needed(topology.undelivered, makes, "onboard bus", "what is in it stays there", other))
            found.append(Needed(topology.dead, makes, "", "", other))
    return found


def _queue(needed: Needed, state: "QueueState") -> Finding:
    what = f"queue {needed.name}"
    if not state.is_there and not needed.makes:
        return failure(what, "it is not there, and bus.declare is false", "declare it as docs/reference/bus.md says")
    if not state.is_there and needed.optional:
        return ok(what, f"it is not there; `{needed.makes}` makes it, where other projects send tasks")
    if not state.is_there:
        return warning(what, "it is not there yet", f"start `{needed.makes}`, which makes it")
    waiting = counted(state.waiting, "message")
    if not needed.consumes:
        words = f"{counted(state.waiting, 'notice')} of refused events"
        return warning(what, words, NOTICES) if state.waiting else ok(what, words)
    if state.consumers is None:
        return ok(what, f"{waiting}; Redis does not say which processes consume it")
    words = f"{waiting}, {counted(state.consumers, 'consumer')}"
    if not state.consumers and (state.waiting or not needed.optional):
        # The broker may refuse this queue to a worker that runs: it was declared with other arguments.
        hint = f"start `{needed.consumes}`; if one runs, its log says why it takes nothing"
        return warning(what, f"{words}: {needed.without}", hint)
    return ok(what, words)
