"""Sections and commands of the features that this product ships, each with its feature: so that one which is not there
is named. Written by `python -m worker.features`.
"""

SECTIONS = {
    "fast_calls": "fast_calls",
}

COMMANDS = {
    "reconcile": "reconcile",
    "rehearse": "rehearsal",
}
