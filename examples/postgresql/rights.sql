-- After each `store migrate`, as the owner: psql -U hub_owner -d hub -f rights.sql
GRANT SELECT ON alembic_version TO hub;
GRANT SELECT, INSERT ON event, audit, snapshot, file TO hub;
GRANT SELECT, INSERT, UPDATE ON message, delivery, control, job, job_item TO hub;
GRANT SELECT, INSERT, DELETE ON payload, reference TO hub;
GRANT SELECT, INSERT, UPDATE, DELETE ON setting TO hub;
