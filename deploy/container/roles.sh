#!/bin/sh
# Runs once, when the database is made: the two roles and their passwords.
set -eu
psql -v ON_ERROR_STOP=1 -f /hub/roles.sql
psql -v ON_ERROR_STOP=1 -d hub -v hub="$HUB_DB_PASSWORD" -v owner="$HUB_OWNER_PASSWORD" <<'SQL'
ALTER ROLE hub PASSWORD :'hub';
ALTER ROLE hub_owner PASSWORD :'owner';
SQL
