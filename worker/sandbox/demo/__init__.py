"""The demo: the whole job on this machine, with an invented list. `onboard demo` and `make demo` play it."""

from worker.sandbox.demo.play import play
from worker.sandbox.demo.stage import CannotPlay
from worker.sandbox.demo.workers import BROKERS, SERVER

__all__ = ["BROKERS", "SERVER", "CannotPlay", "play"]
