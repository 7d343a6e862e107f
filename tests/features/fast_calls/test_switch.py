"""`[fast_calls] on`: who makes the calls, and the start that fails where they do not fit."""

import sys

import aiohttp
import pytest

from tests.settings.samples import loaded, tree
from worker.engine.container import Parts
from worker.engine.fast_calls import FEATURE, fast_calls
from worker.features.fast_calls.exchange import FastCalls
from worker.settings import SettingsError


def test_they_are_off_by_default(tmp_path):
    assert fast_calls(loaded(tmp_path, tree())) is None


def test_they_are_made_where_they_are_on(tmp_path):
    assert fast_calls(loaded(tmp_path, tree(fast_calls={"on": True}))) is FastCalls


@pytest.mark.parametrize("why", ["another aiohttp", "not installed"])
def test_nothing_starts_where_they_are_on_and_unfit(why, tmp_path, monkeypatch):
    settings = loaded(tmp_path, tree(fast_calls={"on": True}))
    if why == "another aiohttp":
        monkeypatch.setattr(aiohttp, "__version__", "3.15.0")
    else:
        monkeypatch.setitem(sys.modules, FEATURE, None)

    with pytest.raises(SettingsError, match=r"^fast_calls\.on: "):
        Parts(settings)


@pytest.mark.parametrize("why", ["another aiohttp", "not installed"])
def test_what_is_off_need_not_fit(why, tmp_path, monkeypatch):
    settings = loaded(tmp_path, tree())
    if why == "another aiohttp":
        monkeypatch.setattr(aiohttp, "__version__", "3.15.0")
    else:
        monkeypatch.setitem(sys.modules, FEATURE, None)

    Parts(settings).close()
