"""The plain values of maintenance: of audits, backups, restores, and of the space that is used."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effects:
    """How many rows of each kind an order has. Exactly once means one of each."""

    order_id: str
    ledger_entries: int
    idempotency_records: int
    events: int


@dataclass(frozen=True, slots=True)
class Gone:
    """How many rows of a replaced store are missing in the store in its place."""

    orders: int
    keys: int
    events: int


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a restore has replaced.

    `kept_as` is the path that the old database has now, or None if there was no database. `gone` is
    None if the numbers are not known, and `unknown` then says why.
    """

    kept_as: str | None
    gone: Gone | None
    unknown: str


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """How many bytes of storage a store uses, and how many are free beside it.

    `log_bytes` is the size of what was committed and is not yet in the database itself: the WAL. A
    size is None if the engine does not tell it.
    """

    database_bytes: int
    log_bytes: int | None
    free_bytes: int | None


@dataclass(frozen=True, slots=True)
class LastBackup:
    """When the last backup was made, and when the last one whose audit had no findings.

    Both times are RFC 3339 UTC with milliseconds and `Z`, or None before the first such backup.
    `took_ms` is the duration of the last backup with its audit in milliseconds, or None if it is
    not known.
    """

    made_at: str | None
    verified_at: str | None
    took_ms: int | None


@dataclass(frozen=True, slots=True)
class AuditResult:
    """What an audit of the whole store has found.

    `took_ms` is its duration in milliseconds. `orders` and `findings` are numbers. `first_findings`
    is a text with one finding a line: all of them, or the first ones.
    """

    took_ms: int
    orders: int
    findings: int
    first_findings: str


@dataclass(frozen=True, slots=True)
class LastAudit:
    """How the last audit ended, at a time that is RFC 3339 UTC with milliseconds and `Z`."""

    ended_at: str
    result: AuditResult
