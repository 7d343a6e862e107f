"""Faster ways to do what SQLAlchemy and psycopg do too: each with its plain form, and a switch (`twins`)."""
