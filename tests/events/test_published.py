"""Published events as CloudEvents."""

import json
from datetime import datetime, timedelta, timezone

from tests.events.outgoing import event
from worker.events.cloudevents import cloud_event
from worker.web.webhooks.standard_webhooks import secret


def test_the_same_event_is_the_same_bytes_however_often_and_whenever_it_is_sent():
    assert cloud_event(event(1)) == cloud_event(event(1, attempts=7))


def test_times_are_utc():
    at = datetime(2026, 11, 20, 14, 0, tzinfo=timezone(timedelta(hours=2)))
    assert json.loads(cloud_event(event(1, occurred_at=at)))["time"] == "2026-11-20T12:00:00Z"


def test_sequences_compare_as_texts_as_their_numbers_do():
    numbers = [1, 9, 10, 2**31, 2**63 - 1]
    sequences = [json.loads(cloud_event(event(number)))["sequence"] for number in numbers]
    assert sequences == sorted(sequences)
    assert len(set(sequences)) == len(numbers)


def test_a_key_may_be_a_text_or_in_the_form_of_the_standards_libraries():
    assert secret("plain words") == b"plain words"
    assert secret("whsec_cmF3") == b"raw"
    assert secret("whsec_no base64") == b"whsec_no base64"
