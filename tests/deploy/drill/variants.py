"""Copies of this repository as later releases: with a newer schema, or broken."""

import re
import shutil
from pathlib import Path

from tests.support.running import REPOSITORY

# The files and directories that a release consists of, as the installer names them.
_RELEASE_SCRIPT = (REPOSITORY / "deploy/release.sh").read_text()
SHIPPED = re.findall(r"^readonly SHIPPED=\((.+)\)$", _RELEASE_SCRIPT, re.MULTILINE)[0].split()


def copy(directory: Path, version: str) -> Path:
    """Copy the files that a release consists of, under another version."""
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
    """Add a migration. `old_code_works` says whether older releases still work after it."""
    migrations = release / "orderapi/store/sqlite/migrations"
    number = max(int(file.name[:4]) for file in migrations.glob("*.sql")) + 1
    works_with = number - 1 if old_code_works else number
    (migrations / f"{number:04}_added.sql").write_text(
        f"-- works-with: {works_with}\nCREATE TABLE added_{number} (a INTEGER NOT NULL) STRICT;\n"
    )
    return release


def with_changed_comments(release: Path) -> Path:
    """Change every unit, but only in its comments."""
    for unit in (release / "deploy/systemd").iterdir():
        unit.write_text(f"# This comment is new.\n{unit.read_text()}")
    return release


def without_relay(release: Path) -> Path:
    """Remove the relay, which the oldest releases did not have."""
    (release / "deploy/systemd/orderapi-relay.service").unlink()
    return release


def that_does_not_import(release: Path) -> Path:
    """Break the release so that the check before an upgrade finds it."""
    return _with_line(release / "wsgi.py", "import no_module_of_this_name")


def whose_workers_die(release: Path) -> Path:
    """Break the release so that the fault appears only when it serves."""
    hook = "def post_worker_init(worker):\n    raise RuntimeError('broken')"
    return _with_line(release / "deploy/gunicorn.conf.py", f"\n\n{hook}")


def that_is_never_ready(release: Path) -> Path:
    """Let the release serve, and report that it is not ready."""
    hook = "app.view_functions['health.show_readiness'] = lambda: ('not ready', 503)"
    return _with_line(release / "wsgi.py", hook)


def _with_line(file: Path, line: str) -> Path:
    file.write_text(f"{file.read_text()}{line}\n")
    return file.parent if file.name == "wsgi.py" else file.parent.parent
