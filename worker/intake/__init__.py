"""From a customer list to customers: every line is accepted, rejected with its reasons, or a duplicate.

    bytes → encoding → csv_records → columns → accept → duplicates
            └────────── csv_list ────────┘     └ rules, contacts, identity, parameters

Another format is another source of raw lines beside `csv_list`; how a line is judged stays here.
docs/list-format.md tells users the same.
"""

from worker.intake.accept import accept
from worker.intake.digest import content_digest
from worker.intake.lines import Accepted, Duplicate, Line, ListRefused, RawLine, Rejected
from worker.intake.listing import CustomerList, open_list
from worker.intake.options import ListOptions
from worker.intake.parameters import parse_cell
from worker.intake.problems import problems_csv

__all__ = [
    "Accepted",
    "CustomerList",
    "Duplicate",
    "Line",
    "ListOptions",
    "ListRefused",
    "RawLine",
    "Rejected",
    "accept",
    "content_digest",
    "open_list",
    "parse_cell",
    "problems_csv",
]
