from pathlib import Path

import pytest

from tests.support.backup_files import backed_up, with_orders


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A backup of two orders, in a directory of its own."""
    (tmp_path / "backups").mkdir()
    source = with_orders(tmp_path / "backups" / "source.db", "key-1", "key-2")
    return backed_up(source, tmp_path / "backups" / "backup.db")
