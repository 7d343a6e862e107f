import csv
import io
from collections import Counter
from datetime import date
from pathlib import Path

import onboarding_sandbox.demo
from onboarding_worker.core.model.customers import Channel, CustomerKind
from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from tests.lists.kinds import ACCEPTED, DUPLICATE, REJECTED, kind_of
from tests.lists.make_list import demo_rows, example_rows, write

DEMO = Path(onboarding_sandbox.demo.__file__).parent / "customers.csv"
EXAMPLE = DEMO.parents[2] / "examples" / "customers.csv"
OPTIONS = ListOptions(today=date(2026, 11, 20))


def test_the_demo_shows_three_rejected_rows_and_a_duplicate():
    kinds = Counter(kind_of(line) for line in open_list(DEMO, OPTIONS))
    assert kinds == {ACCEPTED: 996, REJECTED: 3, DUPLICATE: 1}


def test_the_rejected_rows_of_the_demo_have_one_plain_problem_each():
    rejected = [line for line in open_list(DEMO, OPTIONS) if kind_of(line) == REJECTED]
    assert [(line.customer_id, line.problems[0].column, len(line.problems)) for line in rejected] == [
        ("demo-bad-1", "email", 1),
        ("demo-bad-2", "channel", 1),
        ("demo-bad-3", "country", 1),
    ]


def test_the_demo_has_people_and_companies_of_many_countries_for_every_endpoint_and_channel():
    customers = [line.customer for line in open_list(DEMO, OPTIONS) if isinstance(line, AcceptedLine)]
    known = [customer for customer in customers if customer.entity_id]
    assert len({customer.country for customer in customers}) >= 12
    assert {customer.locale[:2] for customer in customers} >= {"en", "de", "es", "fr", "lt", "it", "pl", "pt", "sv"}
    assert {customer.country for customer in known} == {"AU", "NZ"}
    in_oceania = [customer for customer in customers if customer.country in ("AU", "NZ")]
    assert (len(known), len(in_oceania)) == (125, 250)
    assert Counter(customer.kind for customer in customers)[CustomerKind.COMPANY] == 60
    assert {customer.channel for customer in customers} == {Channel.EMAIL, Channel.SMS, Channel.BOTH}


def test_no_person_on_a_shipped_list_can_be_reached():
    for path in (DEMO, EXAMPLE):
        with path.open(encoding="utf-8", newline="") as file:
            domains = {row["email"].rpartition("@")[2] for row in csv.DictReader(file) if "@" in row["email"]}
        assert domains <= {"example.com", "example.org", "example.net"}


def test_every_row_of_the_example_list_is_accepted():
    assert [kind_of(line) for line in open_list(EXAMPLE, OPTIONS)] == [ACCEPTED] * 20


def test_the_shipped_lists_are_what_their_script_makes(tmp_path):
    for path, rows in ((DEMO, demo_rows()), (EXAMPLE, example_rows())):
        write(tmp_path / path.name, rows)
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_the_demo_list_is_read_from_a_stream_as_well():
    assert len(list(open_list(io.BytesIO(DEMO.read_bytes()), OPTIONS))) == 1000
