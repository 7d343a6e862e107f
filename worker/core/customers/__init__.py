"""Whom the work is for: customers, their routes, and what is known of them."""
