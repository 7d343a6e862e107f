"""Which event loop a process gets."""

import asyncio
import importlib.util
import sys

import pytest

from onboarding_worker.http import event_loop


async def kind_of_loop() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed here")
def test_a_process_runs_on_uvloop_where_it_is_installed():
    assert event_loop.run(kind_of_loop()) == "uvloop"


def test_a_process_runs_on_asyncios_loop_where_uvloop_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)  # importing it raises ImportError

    assert event_loop.run(kind_of_loop()) == "asyncio"


def test_what_a_process_runs_returns_its_value_and_raises_its_error():
    async def fails() -> None:
        raise LookupError

    assert event_loop.run(asyncio.sleep(0, "value")) == "value"
    with pytest.raises(LookupError):
        event_loop.run(fails())
