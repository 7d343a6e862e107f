"""Rows of an account that cannot work: which account takes them over, and moving them."""
