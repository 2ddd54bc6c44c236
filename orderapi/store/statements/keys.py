"""Idempotency keys and the answers that were saved under them."""

from orderapi.records import Claim, Reply, SavedClaim
from orderapi.store.statements.columns import IDEMPOTENCY_KEYS, insert_statement
from orderapi.store.statements.execution import Execute, one_row

_INSERT = insert_statement("idempotency_keys", IDEMPOTENCY_KEYS)


class KeyReads:
    """The statements that read the keys."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def find_claim(self, client_id: str, key: str) -> SavedClaim | None:
        """Find the saved answer of a client's idempotency key."""
        row = one_row(
            self._execute(
                "SELECT request_hash, status_code, response_body, order_id FROM idempotency_keys"
                " WHERE client_id = ? AND idempotency_key = ?",
                (client_id, key),
            )
        )
        return SavedClaim(*row) if row else None

    def find_claim_and_sequence(self, client_id: str, key: str) -> tuple[SavedClaim, int] | None:
        """Find what `find_claim` finds, and the number of the event of that order."""
        row = one_row(
            self._execute(
                "SELECT request_hash, status_code, response_body, order_id, sequence"
                " FROM idempotency_keys JOIN events USING (order_id)"
                " WHERE idempotency_keys.client_id = ? AND idempotency_key = ?",
                (client_id, key),
            )
        )
        return (SavedClaim(*row[:4]), int(row[4])) if row else None


class KeyWrites(KeyReads):
    """The statements that read and write the keys. New values get the time `now`."""

    def __init__(self, execute: Execute, now: str) -> None:
        super().__init__(execute)
        self._now = now

    def save_claim(self, claim: Claim, reply: Reply) -> Reply:
        """Save a claim with its answer, permanently, and give that answer."""
        self._execute(
            _INSERT,
            (
                claim.client_id,
                claim.key,
                claim.fingerprint,
                reply.status,
                reply.body,
                reply.order_id,
                self._now,
            ),
        )
        return reply
