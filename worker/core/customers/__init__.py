"""Whom the work is for: customers, what is suppressed, what they have had, and what ends when they are cancelled."""
