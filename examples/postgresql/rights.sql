-- After each `store migrate`, as the owner: psql -U hub_owner -d hub -f rights.sql
GRANT SELECT ON alembic_version TO hub;
GRANT SELECT, INSERT ON event, audit, group_note, snapshot, file TO hub;
GRANT SELECT, INSERT, UPDATE ON message, delivery, control, alert, job, job_item, tally TO hub;
GRANT SELECT, INSERT, DELETE ON payload, reference TO hub;
GRANT SELECT, INSERT, UPDATE, DELETE ON alert_notice, certificate, setting TO hub;
