"""What an adapter's author tests with: the contract as a suite for pytest, and invented accounts and people.

docs/how-to/adding-a-provider.md says how. Nothing here is imported by the worker. It needs pytest and hypothesis: the
extra `testing`.
"""

import pytest

# Else a failed assertion of the suite would not show its values.
pytest.register_assert_rewrite(
    "onboarding_testing.provider_contract",
    "onboarding_testing.configured_adapters",
    "onboarding_testing.sender_contract",
)
