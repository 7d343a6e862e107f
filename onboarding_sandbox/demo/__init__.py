"""The demo: the whole job on this machine, with an invented list. `onboard demo` and `make demo` play it."""

from onboarding_sandbox.demo.play import play
from onboarding_sandbox.demo.stage import CannotPlay
from onboarding_sandbox.demo.workers import BROKERS, SERVER

__all__ = ["BROKERS", "SERVER", "CannotPlay", "play"]
