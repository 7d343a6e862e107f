"""From a customer list to customers: every line is accepted, rejected with its reasons, or a duplicate.

    formats (bytes to raw lines; columns, objects) → accept → duplicates
                                                     └ rules, contacts, identity, parameters

Another format is another source of raw lines in formats/; the checks of a line stay here.
docs/reference/list-format.md describes the same for users.
"""

from worker.domain.intake.accept import accept
from worker.domain.intake.digest import content_digest
from worker.domain.intake.formats.opening import Content
from worker.domain.intake.lines import Accepted, Duplicate, Line, ListRefused, OpenQuote, RawLine, Rejected, Returned
from worker.domain.intake.listing import CustomerList, check_line, open_list, open_table
from worker.domain.intake.objects import Objects
from worker.domain.intake.options import FORMS, Form, ListOptions
from worker.domain.intake.problems import problems_csv

__all__ = [
    "FORMS",
    "Accepted",
    "Content",
    "CustomerList",
    "Duplicate",
    "Form",
    "Line",
    "ListOptions",
    "ListRefused",
    "Objects",
    "OpenQuote",
    "RawLine",
    "Rejected",
    "Returned",
    "accept",
    "check_line",
    "content_digest",
    "open_list",
    "open_table",
    "problems_csv",
]
