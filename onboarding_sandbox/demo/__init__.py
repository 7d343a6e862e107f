"""The demo: the whole job on this machine, with an invented list. `onboard demo` and `make demo` play it."""
