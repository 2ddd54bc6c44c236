"""How many rows of a store are missing in the store that takes its place."""


def count_gone(old: str, new: str) -> str:
    """Return the statement that counts the rows of the schema `old` that the schema `new` lacks.

    Its one row has the numbers of orders, of idempotency keys and of events, as in `records.Gone`.
    The names of the schemas are written into the statement, so they must come from this program.
    """
    return _COUNT_GONE.format(old=old, new=new)


_COUNT_GONE = """\
SELECT
  (SELECT COUNT(*) FROM {old}.orders AS old WHERE NOT EXISTS (
    SELECT 1 FROM {new}.orders AS new WHERE new.order_id = old.order_id)),
  (SELECT COUNT(*) FROM {old}.idempotency_keys AS old WHERE NOT EXISTS (
    SELECT 1 FROM {new}.idempotency_keys AS new
    WHERE new.client_id = old.client_id AND new.idempotency_key = old.idempotency_key)),
  (SELECT COUNT(*) FROM {old}.events AS old WHERE NOT EXISTS (
    SELECT 1 FROM {new}.events AS new
    WHERE new.sequence = old.sequence AND new.event_id = old.event_id))"""
