#!/bin/sh
# The service's own command, or the server's.
[ $# -gt 0 ] || set -- "$COMMAND"
exec "$@"
