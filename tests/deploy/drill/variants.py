"""Copies of this repository as later releases of it would be: a newer schema, or broken."""

import re
import shutil
from pathlib import Path

from tests.support.running import REPOSITORY

SHIPPED = ("orderapi", "deploy", "wsgi.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


def copy(directory: Path, version: str) -> Path:
    """Copy what is installed, without `.git`, under another version."""
    target = directory / version
    for name in SHIPPED:
        source = REPOSITORY / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, target / name, ignore=ignored)
        else:
            target.mkdir(exist_ok=True)
            shutil.copy(source, target / name)
    settings = target / "setup.cfg"
    text = re.sub(r"(?m)^version = .*$", f"version = {version}", settings.read_text())
    settings.write_text(text)
    return target


def with_migration(release: Path, *, old_code_works: bool = True) -> Path:
    """Add a migration, after which the releases before it still work, or do not."""
    migrations = release / "orderapi/store/migrations/sqlite"
    number = len(list(migrations.glob("*.sql"))) + 1
    works_with = number - 1 if old_code_works else number
    (migrations / f"{number:04}_added.sql").write_text(
        f"-- works-with: {works_with}\nCREATE TABLE added_{number} (a INTEGER NOT NULL) STRICT;\n"
    )
    return release


def without_relay(release: Path) -> Path:
    """Make it one from before there was a relay."""
    (release / "deploy/systemd/orderapi-relay.service").unlink()
    return release


def that_does_not_import(release: Path) -> Path:
    """Break it in a way that a look at it shows."""
    return _with_line(release / "wsgi.py", "import no_module_of_this_name")


def whose_workers_die(release: Path) -> Path:
    """Break it in a way that only serving shows."""
    hook = "def post_worker_init(worker):\n    raise RuntimeError('broken')"
    return _with_line(release / "deploy/gunicorn.conf.py", f"\n\n{hook}")


def that_is_never_ready(release: Path) -> Path:
    """Let it serve, and say that it cannot."""
    hook = "app.view_functions['health.show_readiness'] = lambda: ('not ready', 503)"
    return _with_line(release / "wsgi.py", hook)


def _with_line(file: Path, line: str) -> Path:
    file.write_text(f"{file.read_text()}{line}\n")
    return file.parent if file.name == "wsgi.py" else file.parent.parent
