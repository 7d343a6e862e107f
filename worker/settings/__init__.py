"""The typed configuration. Only this package reads onboarding.toml and the environment."""

from worker.domain.contact.quiet_hours import QuietHours
from worker.foundation.durations import parse_duration, show_duration
from worker.settings.accounts import Account
from worker.settings.load import load
from worker.settings.model import Settings
from worker.settings.problems import SettingsError
from worker.settings.routes import COLUMNS, Route
from worker.settings.secrets import Secret
from worker.settings.sending import Email, Sms, WhatsApp

__all__ = [
    "COLUMNS",
    "Account",
    "Email",
    "QuietHours",
    "Route",
    "Secret",
    "Settings",
    "SettingsError",
    "Sms",
    "WhatsApp",
    "load",
    "parse_duration",
    "show_duration",
]
