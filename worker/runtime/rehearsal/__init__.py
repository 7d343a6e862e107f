"""Plays a list through the real engine: in days of stepped time, with the sandbox in this process, and no network."""
