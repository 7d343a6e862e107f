"""Loads the feature `fast_calls` where the configuration switches it on. No other module knows the feature."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from worker.settings import Settings, SettingsError

if TYPE_CHECKING:
    from worker.http.client import Faster

FEATURE = "worker.features.fast_calls"


def fast_calls(settings: Settings) -> "Faster | None":
    """How its calls are made; None where it is off. Raises SettingsError where it is on and does not fit."""
    if not settings.fast_calls.on:
        return None
    feature = _feature()
    if reason := feature.unfit():
        raise SettingsError([f"fast_calls.on: unfit: {reason}"])
    return feature.faster()  # type: ignore[no-any-return]


def _feature() -> Any:
    try:
        return import_module(FEATURE)
    except ModuleNotFoundError:
        raise SettingsError(["fast_calls.on: this installation does not have it"]) from None
