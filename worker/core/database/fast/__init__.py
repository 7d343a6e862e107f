"""Faster ways to do what SQLAlchemy and psycopg do too: each, as in `bulk`, with a plain form and a switch (`twins`)."""
