#!/bin/sh
# What docker-compose.yml relies on of the official image's entry point.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username postgres --pwfile "$POSTGRES_PASSWORD_FILE" --encoding UTF8 --auth trust --pgdata "$PGDATA"
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  pg_ctl --pgdata "$PGDATA" --options "-c listen_addresses=''" --wait start
  psql --username postgres --dbname postgres --command "CREATE DATABASE \"$POSTGRES_DB\""
  for script in /docker-entrypoint-initdb.d/*.sql; do
    psql --set ON_ERROR_STOP=1 --no-psqlrc --username postgres --dbname "$POSTGRES_DB" --file "$script"
  done
  pg_ctl --pgdata "$PGDATA" --mode fast --wait stop
fi
exec "$COMMAND" -c "listen_addresses=*" "$@"
