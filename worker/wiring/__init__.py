"""Builds the parts of a process from the settings."""
