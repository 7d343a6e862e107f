"""Record the cassettes again: `make record`, or `python -m tests.providers.record`.

Against the sandbox, which it starts; a provider whose test credentials are in the environment
(IDENFY_TEST_KEY and IDENFY_TEST_SECRET; FRANKIE_TEST_KEY, FRANKIE_TEST_CUSTOMER and FRANKIE_TEST_ENTITY) is
called itself, for the cases that can be had there without breaking anything. Look at the diff before you
commit it.
"""

import asyncio
import os
import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

from onboarding_sandbox import Sandbox, SandboxOptions
from onboarding_testing.accounts import NOW
from onboarding_worker.core.foundation.version import __version__
from onboarding_worker.http.client import Http, open_http_session
from onboarding_worker.providers.contract import Broken, HttpAnswer
from tests.providers.recording import CASES, Case, tape

NEEDED = {
    "idenfy": ("IDENFY_TEST_KEY", "IDENFY_TEST_SECRET"),
    "frankieone": ("FRANKIE_TEST_KEY", "FRANKIE_TEST_CUSTOMER", "FRANKIE_TEST_ENTITY"),
}
TEST_HOSTS = {"idenfy": "https://ivs.idenfy.com", "frankieone": "https://api.uat.frankie.one"}
TIMEOUT = timedelta(seconds=30)


async def record(case: Case) -> str:
    """Record one case; returns what it was recorded from."""
    given = [os.environ.get(name, "") for name in NEEDED[case.family]]
    if case.real and all(given):
        source = f"the provider's test environment, {TEST_HOSTS[case.family]}"
        await _call(case, source, base_url=TEST_HOSTS[case.family], **case.credentials(*given[:2]))
        return source
    source = f"the sandbox of onboarding-worker {__version__}"
    async with Sandbox(SandboxOptions(clock=lambda: NOW, seed=1, **case.sandbox)) as sandbox:
        await _call(case, source, base_url=f"{sandbox.url}/{case.family}", **case.credentials())
    return source


async def _call(case: Case, source: str, **settings: Any) -> None:
    asked = case.asked
    if entity := os.environ.get("FRANKIE_TEST_ENTITY") if "test environment" in source else None:
        asked = replace(asked, entity_id=entity)
    provider = case.provider(**settings)
    case.path.unlink(missing_ok=True)
    async with open_http_session() as session:
        with tape(source=source, mode="all").use_cassette(str(case.path)):
            for built in case.requests(provider, asked):
                got = await Http(session).call(built, timeout=TIMEOUT)
                if isinstance(got, Broken):
                    raise SystemExit(f"{case.path.name}: {got.detail}")
                assert isinstance(got, HttpAnswer)


async def main() -> None:
    for case in CASES:
        source = await record(case)
        sys.stdout.write(f"{case.endpoint}/{case.name}: {source}\n")


if __name__ == "__main__":
    asyncio.run(main())
