"""Record the SMS cassettes again: `python -m tests.senders.record`.

Against the sandbox, which it starts; with Twilio's *test* credentials in the environment (TWILIO_TEST_ACCOUNT,
TWILIO_TEST_TOKEN; they send nothing) against Twilio itself, for the cases that its magic numbers can play.
Look at the diff before you commit it.
"""

import asyncio
import os
import sys
from datetime import timedelta

from onboarding_sandbox import Fault, Sandbox, SandboxOptions
from onboarding_worker.core.foundation.version import __version__
from onboarding_worker.http.client import Http
from onboarding_worker.senders.contract import Message
from tests.senders.far_side import NOW, Token, sms_sender
from tests.senders.tape import CASES, LINK, PRODUCTION, Case, tape


async def record(case: Case) -> str:
    """Record one case; returns what it was recorded from."""
    account, token = (os.environ.get(name, "") for name in ("TWILIO_TEST_ACCOUNT", "TWILIO_TEST_TOKEN"))
    if case.real and account and token:
        source = f"Twilio with test credentials, {PRODUCTION}"
        await _send(case, source, base_url=PRODUCTION, account=account, token=Token(token))
        return source
    source = f"the sandbox of onboarding-worker {__version__}"
    faults = ()
    if case.sandbox:
        faults = (Fault(case.sandbox["fault"], 1.0, "twilio", retry_after=case.sandbox.get("retry_after")),)
    async with Sandbox(SandboxOptions(clock=lambda: NOW, faults=faults)) as sandbox:
        token = Token("not-the-token" if case.bad_token else "sandbox-token")
        await _send(case, source, base_url=f"{sandbox.url}/twilio", token=token)
    return source


async def _send(case: Case, source: str, **settings: object) -> None:
    case.path.unlink(missing_ok=True)
    sender = sms_sender(Http(), from_=case.from_, **settings)
    with tape(source, "once").use_cassette(str(case.path)):
        await sender.send(message_of(case))
        if case.look_up:
            await sender.look_up(case.to, LINK, since=NOW, known=frozenset())
    await sender.close()


def message_of(case: Case) -> Message:
    return Message("0197f3", NOW, case.to, "en", "", case.text, valid_for=timedelta(hours=5))


async def main() -> None:
    for case in CASES:
        sys.stdout.write(f"{case.name}: from {await record(case)}\n")


if __name__ == "__main__":
    asyncio.run(main())
