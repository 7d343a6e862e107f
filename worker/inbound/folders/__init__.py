"""Folders that lists are taken from ([[intake]])."""
