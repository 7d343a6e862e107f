"""Reads a list, judges its rows in a child process, and stores them."""
