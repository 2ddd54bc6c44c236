import shutil
from pathlib import Path

import pytest

from tests.support.backup_files import backed_up, with_orders


@pytest.fixture(scope="session")
def backup_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of two orders as the command makes it, and beside it the database."""
    directory = tmp_path_factory.mktemp("backups")
    source = with_orders(directory / "source.db", "key-1", "key-2")
    backed_up(source, directory / "backup.db")
    return directory


@pytest.fixture
def backup(backup_directory: Path, tmp_path: Path) -> Path:
    """A copy of a backup of two orders, in a directory of its own."""
    return Path(shutil.copytree(backup_directory, tmp_path / "backups")) / "backup.db"
