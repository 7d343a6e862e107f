"""A relay of each kind, for the tests of the email sender."""

import pytest


@pytest.fixture(params=["pipelining", "one by one"])
def relay(request, relay):
    """Every promise holds for a relay that takes commands together, and for one that takes them one by one."""
    if request.param == "pipelining":
        relay.extensions.append("PIPELINING")
    return relay
