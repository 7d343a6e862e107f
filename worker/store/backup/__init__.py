"""A copy of all data, the keys of customers apart from it, and how both become a database again."""
