"""`[fast_calls] on`: who makes the calls, and the start that fails where they do not fit."""

import aiohttp
import pytest

from onboarding_worker.features.fast_calls.exchange import FastCalls
from onboarding_worker.http.ways import faster
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.wiring.container import Parts
from tests.settings.samples import loaded, tree


def test_they_are_off_by_default(tmp_path):
    assert faster(loaded(tmp_path, tree())) is None


def test_they_are_made_where_they_are_on(tmp_path):
    assert faster(loaded(tmp_path, tree(fast_calls={"on": True}))) is FastCalls


def test_nothing_starts_where_they_are_on_and_unfit(tmp_path, monkeypatch):
    settings = loaded(tmp_path, tree(fast_calls={"on": True}))
    monkeypatch.setattr(aiohttp, "__version__", "3.15.0")

    with pytest.raises(SettingsError, match=r"^fast_calls\.on: "):
        Parts(settings)


def test_what_is_off_need_not_fit(tmp_path, monkeypatch):
    settings = loaded(tmp_path, tree())
    monkeypatch.setattr(aiohttp, "__version__", "3.15.0")

    Parts(settings).close()
