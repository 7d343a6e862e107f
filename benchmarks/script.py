"""What a script does: the same checks of email and phone, one table. `python -m benchmarks.script DATABASE LIST`.

It keeps the customer and the encrypted personal fields, in chunks of a thousand. It has no routes, no jobs, no
refused rows, and cannot go on after a kill.
"""

import csv
import json
import sys
from datetime import date

import phonenumbers
import psycopg
from cryptography.fernet import Fernet
from email_validator import EmailNotValidError, validate_email

SCHEMA = "create table customer (customer_id text primary key, country text, locale text, encrypted bytea)"
INSERT = "insert into customer values (%s, %s, %s, %s) on conflict do nothing"
CHUNK = 1000


def main(database: str, path: str) -> None:
    cipher = Fernet(Fernet.generate_key())
    with psycopg.connect(database) as connection, open(path, newline="", encoding="utf-8") as stream:
        connection.execute(SCHEMA)
        rows: list[tuple[str, str, str, bytes]] = []
        for line in csv.DictReader(stream):
            try:
                email = validate_email(line["email"], check_deliverability=False).normalized
                number = phonenumbers.parse(line["phone"], line["country"])
            except (EmailNotValidError, phonenumbers.NumberParseException):
                continue
            if not phonenumbers.is_possible_number(number):
                continue
            person = {
                "email": email,
                "phone": phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164),
                "first_name": line["first_name"],
                "last_name": line["last_name"],
                "date_of_birth": date.fromisoformat(line["date_of_birth"]).isoformat(),
            }
            encrypted = cipher.encrypt(json.dumps(person).encode())
            rows.append((line["customer_id"], line["country"], line["locale"], encrypted))
            if len(rows) == CHUNK:
                _write(connection, rows)
        _write(connection, rows)


def _write(connection: psycopg.Connection, rows: list[tuple[str, str, str, bytes]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(INSERT, rows)
    connection.commit()
    rows.clear()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
