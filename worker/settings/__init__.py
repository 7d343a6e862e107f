"""The typed configuration. Only this package reads onboarding.toml and the environment."""

from worker.settings.accounts import Account
from worker.settings.load import load
from worker.settings.model import Settings
from worker.settings.problems import SettingsError
from worker.settings.secrets import Secret
from worker.settings.sending import Email, Sms

__all__ = [
    "Account",
    "Email",
    "Secret",
    "Settings",
    "SettingsError",
    "Sms",
    "load",
]
