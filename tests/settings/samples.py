"""Configurations to vary: a tree of plain values, and its way into a file."""

import base64
import copy
import datetime
import json
from pathlib import Path
from typing import Any

from onboarding_worker.settings.load import load
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.settings.shape import SECTIONS
from tests.suite.of_features import of_features

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
ENVIRON = {
    "ONBOARDING_KEY": KEY,
    "ONBOARDING_DIGEST_KEY": base64.urlsafe_b64encode(b"d" * 32).decode(),
    "IDENFY_KEY": "key-of-idenfy",
    "IDENFY_SECRET": "secret-of-idenfy",
    "IDENFY_WEBHOOK_KEY": "webhook-key-of-idenfy-of-32-chars",
    "FRANKIE_KEY": "key-of-frankie",
    "FRANKIE_CUSTOMER": "customer-of-frankie",
    "TWILIO_TOKEN": "token-of-twilio",
    "EVENTS_KEY": "key-of-the-senders-of-all-events",
}
TREE: dict[str, Any] = {
    "accounts": {
        "kyc": {"provider": "idenfy-kyc", "api_key": {"env": "IDENFY_KEY"}, "api_secret": {"env": "IDENFY_SECRET"}},
        "au": {
            "provider": "frankieone-v2",
            "api_key": {"env": "FRANKIE_KEY"},
            "customer_id": {"env": "FRANKIE_CUSTOMER"},
            "link": "https://verify.example.com/start#token={token}",
        },
    },
    "routes": [{"when": {"country": "AU"}, "accounts": ["au"]}, {"accounts": ["kyc"]}],
    "follow_up": {"ladder": [{"after": "1 hour"}]},
    "privacy": {"journal": "onboarding.journal"},
    "email": {"url": "smtp://127.0.0.1:1025", "from": "Example Bank <verify@example.com>"},
    "sms": {"account": "AC0", "token": {"env": "TWILIO_TOKEN"}, "from": "+15005550006"},
    "whatsapp": {"from": "+15005550006"},
    "bus": {"url": "amqp://127.0.0.1"},
    **dict(of_features("SAMPLES")),
}


def tree(**sections: Any) -> dict[str, Any]:
    """A configuration that loads, with other sections where they are given."""
    return {**copy.deepcopy(TREE), **sections}


def without_credentials(configuration: dict[str, Any]) -> dict[str, Any]:
    """Without the sections of features that requests are checked with."""
    lets_in = {one.name for one in SECTIONS.offered() if one.credentials}
    return {name: section for name, section in configuration.items() if name not in lets_in}


def with_value(path: tuple[str | int, ...], value: Any, base: dict[str, Any] | None = None) -> dict[str, Any]:
    """The configuration with one key set."""
    changed = base or tree()
    at: Any = changed
    for part in path[:-1]:
        at = at.setdefault(part, {}) if isinstance(at, dict) else at[part]
    at[path[-1]] = value
    return changed


def toml(value: Any) -> str:
    """The value as TOML has it, on one line."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value).replace("\x7f", "\\u007f")
        case dict():
            return "{ " + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + " }"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case datetime.date():
            return value.isoformat()
    return str(value)


def write(directory: Path, configuration: dict[str, Any]) -> Path:
    file = directory / "onboarding.toml"
    lines = (f"{json.dumps(key)} = {toml(value)}\n" for key, value in configuration.items())
    file.write_text("".join(lines), encoding="utf-8")
    return file


def loaded(directory: Path, configuration: dict[str, Any], **environ: str) -> Settings:
    return load(write(directory, configuration), environ=ENVIRON | environ)


def problems(directory: Path, configuration: dict[str, Any], **environ: str) -> list[str]:
    """What is wrong with it; empty when it loads."""
    try:
        loaded(directory, configuration, **environ)
    except SettingsError as error:
        return error.problems
    return []
