"""How many hostile inputs of each class have an expected answer, and that docs/security/threat-model.md says so."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.every_command import test_private_files
from tests.domain.intake import test_csv_reading
from tests.domain.invitations import test_names, test_own_templates, test_render
from tests.foundation import test_harmless_text, test_keyring
from tests.hostile import (
    test_events,
    test_http,
    test_leaks,
    test_lists,
    test_mail_services,
    test_slow,
    test_smtp,
    test_webhooks,
)
from tests.http import test_answers
from tests.inbound.bus import test_poison, test_tasks
from tests.inbound.web import test_refusals
from tests.providers import test_links, test_misbehaviour
from tests.providers.webhooks import test_tokens
from tests.publishers import test_subscriber
from tests.runtime import test_every_connection, test_hostile_messages
from worker.testing import provider_contract

PAGE = Path(__file__).parents[2] / "docs/security/threat-model.md"
Test = Callable[..., Any]
# The class as the page names it, and its tables: a test with its parameters, or a table with its entries.
CLASSES: dict[str, list[Test | dict[Any, Any] | list[Any]]] = {
    "HTTP": [test_http.CASES],
    "events over HTTP": [test_events.CASES, test_refusals.test_a_proxy_is_believed_if_it_is_trusted],
    "webhooks and callbacks": [test_webhooks.CASES],
    "mail services": [test_mail_services.SNS, test_mail_services.POSTMARK],
    "slow connections": [test_slow.CASES],
    "tokens (JWT)": [
        test_tokens.BAD,
        test_tokens.test_the_public_key_in_no_form_is_a_secret,
    ],
    "links": [
        test_links.test_any_other_link_is_refused,
        test_links.test_a_template_that_could_not_be_used_is_found_before_any_call,
    ],
    "answers of providers": [
        test_misbehaviour.test_a_page_of_html_is_an_unknown_outcome_if_repeating_costs,
        test_misbehaviour.test_a_redirect_stops_the_account_and_is_not_followed,
        *[provider_contract.test_a_token_of_the_wrong_type_opens_no_session] * len(test_misbehaviour.REAL),
        test_misbehaviour.test_the_sandbox_does_each_of_these_on_demand,
        test_answers.test_an_answer_with_a_bad_head_was_sent,
    ],
    "mail servers": [test_smtp.CASES],
    "TLS": [test_every_connection.test_a_client_talks_to_the_right_server_only],
    "names and templates": [
        [*test_names.HOSTS, *test_names.NUMBERS, *test_names.SENTENCES],
        test_names.test_what_is_no_name_of_a_person_is_not_greeted,
        [*test_render.HOSTILE] * len(test_render.CustomerKind),
        test_own_templates.test_a_template_cannot_use_up_the_machine_or_reach_out_of_its_text,
    ],
    "lists and reports": [
        test_lists.CASES,
        test_csv_reading.test_a_file_that_is_no_list_is_refused_with_what_to_do,
        test_harmless_text.test_a_text_that_begins_like_a_formula_gets_an_apostrophe,
        test_harmless_text.test_the_part_behind_a_separator_gets_one_too,
    ],
    "the bus": [test_poison.BODIES, test_tasks.NO_TASKS],
    "Celery's queue": [test_hostile_messages.HOSTILE, test_hostile_messages.RAW, test_hostile_messages.ODD],
    "subscribers": [
        test_subscriber.test_any_other_answer_is_repeated,
        test_subscriber.test_a_requested_wait_is_kept_within_bounds,
        test_subscriber.test_a_redirect_is_not_followed,
        test_subscriber.test_a_subscriber_that_hangs_is_given_up_by_the_time_out,
        test_subscriber.test_a_body_without_an_end_does_not_matter,
    ],
    "at rest": [
        test_keyring.test_a_value_changed_by_one_bit_cannot_be_decrypted,
        test_keyring.test_a_value_that_was_cut_off_cannot_be_decrypted,
        test_keyring.test_a_malformed_key_is_refused_without_being_shown,
        test_private_files.test_a_secret_that_other_users_can_read_or_change_refuses_the_start,
    ],
}


def cases(tables: list[Any]) -> int:
    def of(table: Any) -> int:
        if not callable(table):
            return len(table)
        marks = [mark for mark in getattr(table, "pytestmark", []) if mark.name == "parametrize"]
        return math.prod(len(list(mark.args[1])) for mark in marks)

    return sum(of(table) for table in tables)


def said() -> dict[str, int]:
    """The page's table of the suite: the number of cases by class."""
    section = PAGE.read_text("utf-8").partition("## The hostile inputs")[2].partition("\n## ")[0]
    return {name.strip(): int(count) for name, count in re.findall(r"^\| ([^|]+) \| (\d+) \|", section, re.MULTILINE)}


def test_the_page_has_each_class_with_no_more_cases_than_there_are():
    stated = said()

    assert list(stated) == list(CLASSES)
    for name, tables in CLASSES.items():
        assert stated[name] <= cases(tables), name
    assert sum(stated.values()) >= 300


def test_the_page_names_each_place_that_is_searched_for_leaks():
    section = PAGE.read_text("utf-8").partition("## The hostile inputs")[2]

    assert not [place for place in test_leaks.PLACES if place not in " ".join(section.split())]


def test_each_class_has_cases():
    assert [name for name in CLASSES if cases(CLASSES[name]) < 5] == []
