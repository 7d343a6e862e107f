"""Invitations: claimed, checked, sent, delivered, suppressed."""
