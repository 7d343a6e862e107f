"""What publishes events is loaded by each `onboard run`: the libraries of brokers come with a broker."""

import subprocess
import sys

BROKERS = {"amqp", "kombu", "redis"}


def test_without_a_bus_no_library_of_a_broker_is_loaded():
    call = "import sys; from onboarding_worker.features.outbox.outbox_publisher import WORK\n"
    call += f"print(sorted({BROKERS} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)

    assert ended.stdout == "[]\n"
