-- Once, as an administrator of the server: psql -f roles.sql
CREATE ROLE hub_owner LOGIN;  -- makes and migrates the tables: store migrate
CREATE ROLE hub LOGIN;        -- runs the daemons and the command line
CREATE DATABASE hub OWNER hub_owner;
REVOKE ALL ON DATABASE hub FROM PUBLIC;
GRANT CONNECT ON DATABASE hub TO hub;
\connect hub
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO hub_owner;
GRANT USAGE ON SCHEMA public TO hub;
