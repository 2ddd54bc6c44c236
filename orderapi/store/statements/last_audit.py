"""How the last audit of the store ended."""

from orderapi.maintenance_records import AuditResult, LastAudit
from orderapi.store.statements.execution import Execute, one_row

_COLUMNS = "took_ms, orders, findings, first_findings"


class LastAuditReads:
    """The statements that read the last audit."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def find(self) -> LastAudit | None:
        """Find how the last audit ended. None if no audit has ended yet."""
        row = one_row(self._execute(f"SELECT ended_at, {_COLUMNS} FROM last_audit", ()))  # noqa: S608 - a constant of ours
        return LastAudit(row[0], AuditResult(*row[1:])) if row else None


class LastAuditWrites(LastAuditReads):
    """The statements that read and write the last audit. New values get the time `now`."""

    def __init__(self, execute: Execute, now: str) -> None:
        super().__init__(execute)
        self._now = now

    def note(self, result: AuditResult) -> None:
        """Record that an audit has ended now, in the place of the one before."""
        self._execute(
            f"INSERT INTO last_audit (last_audit_id, ended_at, {_COLUMNS})"  # noqa: S608 - a constant of ours
            " VALUES (1, ?, ?, ?, ?, ?) ON CONFLICT (last_audit_id) DO UPDATE SET"
            " ended_at = excluded.ended_at, took_ms = excluded.took_ms, orders = excluded.orders,"
            " findings = excluded.findings, first_findings = excluded.first_findings",
            (self._now, result.took_ms, result.orders, result.findings, result.first_findings),
        )
