"""From a customer list to rows: every line is accepted, refused with its reasons, or a duplicate; then it is stored.

    listing: formats (bytes to raw lines; columns, objects) → accept (rules, phone_numbers) → same_person
    importing: intake (routes; what accounts and channels serve) → judging → list_import
    store: new_rows (sealed lines) → added_lines (known customers, admission) → batches

Another format is another source of raw lines in formats/; the checks of a line stay here.
docs/reference/list-format.md describes the same for users.
"""
