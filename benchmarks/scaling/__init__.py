"""A model of many workers on one PostgreSQL server: real dispatchers in virtual time, and a database of costs."""
