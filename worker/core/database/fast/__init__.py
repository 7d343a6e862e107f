"""Faster ways to do what a library does too: each, as in `bulk`, with a plain form and a switch (`twins`)."""
