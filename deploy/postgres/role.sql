-- What the role `orderapi` may do, under which the service and its commands run, if another role owns
-- the database. The owner runs this after each `orderapi migrate`:
--   psql --set ON_ERROR_STOP=1 --file deploy/postgres/role.sql "$OWNER_URL"
-- Running it again changes nothing. The role itself is made once: CREATE ROLE orderapi LOGIN PASSWORD '...'

BEGIN;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO orderapi;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM orderapi;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO orderapi;

-- What an order leaves behind is never changed.
GRANT INSERT ON orders, ledger, idempotency_keys, events TO orderapi;

-- `SELECT ... FOR UPDATE` needs the right to update a column. The row is locked and never updated.
GRANT UPDATE (lock_id) ON write_lock TO orderapi;

-- The process that is asked for its readiness writes the time.
GRANT UPDATE (checked_at) ON readiness_probe TO orderapi;

-- The relay, and which process has the right to deliver.
GRANT UPDATE (sequence, changed_at, blocked_since, blocked_reason, failures) ON relay_position
    TO orderapi;
GRANT INSERT, UPDATE ON leases TO orderapi;

-- `orderapi token` makes tokens and ends them. No token is deleted.
GRANT INSERT, UPDATE (expires_at, revoked_at, last_used_at) ON tokens TO orderapi;
GRANT UPDATE (version) ON tokens_version TO orderapi;

-- `orderapi backup` notes when it was made, and `orderapi audit` how it ended.
GRANT UPDATE (made_at, verified_at, took_ms) ON last_backup TO orderapi;
GRANT INSERT, UPDATE ON last_audit TO orderapi;

COMMIT;
