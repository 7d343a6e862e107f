"""A wake-up says for which step something is due, and where."""

import pytest

from onboarding_worker.core.model.wakeups import WakeUp, WorkStep


@pytest.mark.parametrize(
    ("wake_up", "step", "text"),
    [
        (WakeUp.issue("kyc"), WorkStep.ISSUE, "issue:kyc"),
        (WakeUp.invite("email"), WorkStep.INVITE, "invite:email"),
        (WakeUp.publish("crm"), WorkStep.PUBLISH, "publish:crm"),
    ],
)
def test_a_wake_up_names_its_step_and_for_what(wake_up, step, text):
    assert (wake_up.step, wake_up.name, str(wake_up)) == (step, text.partition(":")[2], text)
