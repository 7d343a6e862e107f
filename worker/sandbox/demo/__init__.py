"""The list of invented customers that `make demo` runs, and the script that made it."""
