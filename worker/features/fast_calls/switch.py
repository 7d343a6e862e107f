"""Whether fast calls can be made here, also for `doctor`. They use parts of aiohttp that aiohttp does not promise, so
they have a bound of their own on aiohttp's release."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from typing import TYPE_CHECKING

from onboarding_worker.cli.feature_checks import FeatureCheck, Finding, ok
from onboarding_worker.features.fast_calls.section import FastCalls
from onboarding_worker.http.ways import Way
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.wiring.container import Parts

if TYPE_CHECKING:
    from onboarding_worker.http.client import Faster
    from onboarding_worker.senders.email import Transact

RELEASE = "3.14."  # of aiohttp. Before this is raised: read what changed in client_proto.py and connector.py
# What is used of aiohttp besides its documented interface: modules, names, and the parameters that are given.
EXPECTED: dict[str, set[str]] = {
    "connector:BaseConnector.connect": {"req", "traces", "timeout"},
    "connector:Connection.transport.fget": set(),
    "connector:Connection.protocol.fget": set(),
    "connector:Connection.close": set(),
    "client_proto:ResponseHandler.connection_lost": {"exc"},
}


def unfit() -> str:
    """Why fast calls cannot be made here; "" where they can."""
    import aiohttp  # imported here: takes a quarter of a second

    if not aiohttp.__version__.startswith(RELEASE):
        return f"it fits aiohttp {RELEASE}x, and {aiohttp.__version__} is installed"
    if find_spec("httptools") is None:
        return "httptools is not installed here: pip install 'onboarding-worker[fast-calls]'"
    return "" if _is_as_expected() else f"aiohttp {aiohttp.__version__} lacks a name that it uses"


def _is_as_expected() -> bool:
    try:
        for name, parameters in EXPECTED.items():
            module, _, path = name.partition(":")
            used = attrgetter(path)(import_module(f"aiohttp.{module}"))
            if not parameters <= inspect.signature(used).parameters.keys():
                return False
    except (ImportError, AttributeError, TypeError):
        return False
    return True


def is_on(settings: Settings) -> bool:
    return settings.section(FastCalls).on


def faster() -> "Faster":
    """What makes the calls. Raises SettingsError where it does not fit."""
    _check()
    from onboarding_worker.features.fast_calls import exchange  # imported here: takes a quarter of a second

    return exchange.FastCalls


def transact() -> "Transact":
    """What hands mails over. Raises SettingsError as `faster` does: one switch has one answer."""
    _check()
    from onboarding_worker.features.fast_calls import pipelined

    return pipelined.pipelined


def _check() -> None:
    if reason := unfit():
        raise SettingsError([f"fast_calls.on: unfit: {reason}"])


WAY = Way("fast calls", is_on, faster, transact)


def check(parts: Parts) -> Iterator[Finding]:
    """Where they are on and unfit, no command starts, and `doctor` says so instead of this."""
    yield ok("fast calls", "on" if is_on(parts.settings) else "off")


CHECK = FeatureCheck(check)
