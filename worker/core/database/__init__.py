"""The database: its engine, schema, encryption, bulk statements. PostgreSQL and SQLite."""
