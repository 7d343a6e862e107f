"""Simulates the providers and a mailbox, as strictly as the real ones, with faults on demand.

An independent reading of the providers' pages: the sandbox imports nothing of the worker, so that no part of
the worker is checked against its own misreading.
"""

from onboarding_sandbox.endpoints.twilio import Text
from onboarding_sandbox.faults import Fault, Latency, RateLimit, SmtpFault
from onboarding_sandbox.mailbox import Mail, Mailbox
from onboarding_sandbox.options import SandboxOptions
from onboarding_sandbox.server import Sandbox
from onboarding_sandbox.wire import Entry

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
