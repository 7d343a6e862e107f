"""What an adapter's author tests with: the contract as a suite for pytest, and invented accounts and people.

docs/how-to/adding-a-provider.md says how. Nothing here is imported by the worker. It needs pytest and hypothesis: the
extra `testing`.
"""

import pytest

# Else a failed assertion of the suite would not show its values.
pytest.register_assert_rewrite(
    "worker.testing.provider_contract",
    "worker.testing.configured_adapters",
    "worker.testing.listed_sessions",
    "worker.testing.sender_contract",
)
