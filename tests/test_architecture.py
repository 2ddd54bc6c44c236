"""Imports go in one direction, and each library is imported only in the folders listed here."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.running import REPOSITORY

PACKAGE = REPOSITORY / "orderapi"

# The outermost layer comes first. A module imports from its own folder or from inner layers.
LAYERS: list[tuple[str, ...]] = [
    ("orderapi.cli.program",),
    ("orderapi.cli.commands", "orderapi.app", "orderapi.server"),
    ("orderapi.cli",),
    ("orderapi.console", "orderapi.web.openapi"),
    ("orderapi.web", "orderapi.ops", "orderapi.relay"),
    ("orderapi.auth", "orderapi.events", "orderapi.web.schemas"),
    ("orderapi.store.open",),
    ("orderapi.store.postgres.maintenance",),
    ("orderapi.store.postgres.restore",),
    (
        "orderapi.store.sqlite.store",
        "orderapi.store.sqlite.maintenance",
        "orderapi.store.sqlite.copy_target",
    ),
    (
        "orderapi.store.postgres.store",
        "orderapi.store.postgres.copy_source",
        "orderapi.store.postgres.copy_target",
    ),
    ("orderapi.store.postgres.settled", "orderapi.store.sqlite.placements"),
    ("orderapi.store.postgres.copy_session", "orderapi.store.postgres.auditable"),
    ("orderapi.store.postgres.placements", "orderapi.store.postgres.writes"),
    ("orderapi.store.postgres.readers", "orderapi.store.postgres.queue"),
    ("orderapi.store.postgres.primary",),
    ("orderapi.store.postgres.pool", "orderapi.store.postgres.start"),
    ("orderapi.store.postgres.session", "orderapi.store.postgres.rights"),
    ("orderapi.store.postgres.servers",),
    ("orderapi.store.postgres.connection", "orderapi.store.postgres.failures"),
    (
        "orderapi.store.sqlite.writer",
        "orderapi.store.sqlite.restore",
        "orderapi.store.sqlite.copy_source",
    ),
    ("orderapi.store.sqlite.auditable", "orderapi.store.sqlite.older_backup"),
    ("orderapi.store.sqlite.readers",),
    ("orderapi.store.sqlite.database",),
    (
        "orderapi.store.sqlite.start",
        "orderapi.store.sqlite.copy",
        "orderapi.store.sqlite.savepoint",
    ),
    ("orderapi.store.sqlite.connection", "orderapi.store.sqlite.file_swap"),
    (
        "orderapi.store.sqlite.files",
        "orderapi.store.sqlite.checkpoint",
        "orderapi.store.sqlite.integrity",
    ),
    (
        "orderapi.store.sqlite.lock_file",
        "orderapi.store.sqlite.lease_file",
        "orderapi.store.sqlite.file_names",
    ),
    ("orderapi.store.group_commit", "orderapi.store.leases", "orderapi.store.commit_stats"),
    ("orderapi.store.greenlet_drain", "orderapi.store.thread_drain"),
    ("orderapi.store.jobs", "orderapi.store.native"),
    ("orderapi.store.contract", "orderapi.store.copying", "orderapi.store.maintenance"),
    ("orderapi.orders",),
    ("orderapi.store.statements", "orderapi.store.migrate"),
    (
        "orderapi.settings",
        "orderapi.logs",
        "orderapi.log_writer",
        "orderapi.idempotency",
        "orderapi.documents",
        "orderapi.uuid7",
        "orderapi.durable",
        "orderapi.exclusive_name",
        "orderapi.telemetry",
        "orderapi.trace_context",
    ),
    ("orderapi.records", "orderapi.maintenance_records", "orderapi.errors"),
    ("orderapi.fields", "orderapi.time_limit"),
]

# What modules outside of the store may import of it. The modules in OPENING may also open a store.
STORE = (
    "orderapi.store.contract",
    "orderapi.store.copying",
    "orderapi.store.maintenance",
    "orderapi.store.statements",
)
OPENING = ("orderapi.app", "orderapi.cli.inputs", "orderapi.server")

# What callers and receivers import, and the leaves that it shares with the service. A leaf imports
# only the standard library, so a caller or a receiver installs nothing of the service's libraries.
SHARED = {
    "orderapi.client": ("orderapi.fields", "orderapi.time_limit"),
    "orderapi.webhooks": ("orderapi.fields",),
}
APART = tuple(SHARED)
LEAVES = {leaf for leaves in SHARED.values() for leaf in leaves}

WALLS = {
    "flask": {"orderapi.app", "orderapi.web.", "orderapi.console."},
    "werkzeug": {"orderapi.web.", "orderapi.console."},
    "markupsafe": {"orderapi.console.words"},
    "sqlite3": {
        "orderapi.store.sqlite.connection",
        "orderapi.store.sqlite.readers",
        "orderapi.store.sqlite.start",
        "orderapi.store.sqlite.writer",
    },
    "marshmallow": {"orderapi.web.schemas.", "orderapi.web.openapi."},
    "apispec": {"orderapi.web.openapi."},
    "psycopg": {"orderapi.store.postgres."},
    "pythonjsonlogger": {"orderapi.logs"},
    "orjson": {
        "orderapi.logs",
        "orderapi.documents",
        "orderapi.web.schemas.json_body",
    },
    "click": {"orderapi.cli."},
    "gevent": {"orderapi.store.greenlet_drain", "orderapi.server."},
    "httpx2": {"orderapi.client.exchange", "orderapi.relay.webhook"},
    "tenacity": {"orderapi.client.retrying"},
    "standardwebhooks": {"orderapi.webhooks", "orderapi.relay.webhook"},
    "prometheus_client": {
        "orderapi.telemetry",
        "orderapi.server.metric_files",
        "orderapi.server.shared_values",
        "orderapi.web.metrics",
    },
    "greenlet": {"orderapi.server."},
    "gunicorn": {"orderapi.server."},
    "httptools": {"orderapi.server."},
}


def _modules() -> dict[str, Path]:
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        names[".".join(parts).removesuffix(".__init__")] = path
    return names


MODULES = _modules()


@cache
def _imports(path: Path) -> tuple[str, ...]:
    return tuple(_find_imports(path))


def _find_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            submodules = [f"{module}.{alias.name}" for alias in node.names]
            found = [name for name in submodules if name in MODULES]
            yield from found or [module]


def _layer(module: str) -> int | None:
    """Give the depth of the layer that names the module most exactly."""
    named = {name: depth for depth, layer in enumerate(LAYERS) for name in layer}
    names = [name for name in named if _is_in(module, (name,))]
    return named[max(names, key=len)] if names else None


def _is_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in packages)


@pytest.mark.parametrize("module", [module for module in MODULES if not _is_in(module, APART)])
def test_a_module_imports_only_from_its_own_folder_or_further_in(module: str) -> None:
    here = _layer(module)
    if here is None:
        # The files `__init__.py` are empty.
        assert list(_imports(MODULES[module])) == []
        return
    for imported in _imports(MODULES[module]):
        there = _layer(imported)
        same_folder = imported.rpartition(".")[0] == module.rpartition(".")[0]
        if there is not None:
            assert there > here or (there == here and same_folder), imported


@pytest.mark.parametrize(
    "module", [module for module in MODULES if not _is_in(module, ("orderapi.store",))]
)
def test_no_engine_is_known_outside_the_store(module: str) -> None:
    may_open = ("orderapi.store.open",) if _is_in(module, OPENING) else ()
    for imported in _imports(MODULES[module]):
        if _is_in(imported, ("orderapi.store",)):
            assert _is_in(imported, (*STORE, *may_open)), imported


@pytest.mark.parametrize("module", MODULES)
def test_what_callers_import_and_the_service_share_only_leaves(module: str) -> None:
    own = tuple(package for package in APART if _is_in(module, (package,)))
    for imported in _imports(MODULES[module]):
        if own:
            allowed = (*own, *SHARED[own[0]])
            assert _is_in(imported, allowed) or not _is_in(imported, ("orderapi",)), imported
        else:
            assert not _is_in(imported, APART), imported


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_a_leaf_imports_only_the_standard_library(leaf: str) -> None:
    libraries = {name.partition(".")[0] for name in _imports(MODULES[leaf])}
    assert libraries <= sys.stdlib_module_names


@pytest.mark.parametrize("library", WALLS)
def test_a_library_is_imported_only_where_the_table_allows_it(library: str) -> None:
    users = {
        module
        for module, path in MODULES.items()
        if any(name.partition(".")[0] == library for name in _imports(path))
    }
    inside = {
        place: {
            user
            for user in users
            if user == place or (place.endswith(".") and user.startswith(place))
        }
        for place in WALLS[library]
    }
    assert users == set().union(*inside.values())
    # A place that imports none of the library is misspelt or no longer needed.
    assert all(inside.values())


def test_no_imports_go_in_a_circle() -> None:
    graph = {
        module: {name for name in _imports(path) if name in MODULES and name != module}
        for module, path in MODULES.items()
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for imported in graph[module]:
                visit(imported, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())
