"""Simulates the providers and a mailbox, as strictly as the real ones, with faults on demand.

An independent reading of the providers' pages: the sandbox imports nothing else of the worker, so that no part of
the worker is checked against its own misreading.
"""

from worker.sandbox.faults import Fault, SmtpFault
from worker.sandbox.latency import Latency
from worker.sandbox.limits import RateLimit
from worker.sandbox.log import Entry
from worker.sandbox.mailbox import Mail, Mailbox
from worker.sandbox.options import SandboxOptions
from worker.sandbox.server import Sandbox
from worker.sandbox.texts import Text

__all__ = [
    "Entry",
    "Fault",
    "Latency",
    "Mail",
    "Mailbox",
    "RateLimit",
    "Sandbox",
    "SandboxOptions",
    "SmtpFault",
    "Text",
]
