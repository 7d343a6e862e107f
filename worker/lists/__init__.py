"""From a customer list to customers: every line is accepted, rejected with its reasons, or a duplicate.

    formats (bytes to raw lines; columns, objects) → accept → duplicates
                                                     └ rules, contacts, identity, parameters

Another format is another source of raw lines in formats/; the checks of a line stay here.
docs/reference/list-format.md describes the same for users.
"""
