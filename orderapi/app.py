"""The wiring, in reading order."""

from flask import Flask

from orderapi.settings import Settings
from orderapi.store.contract import Store
from orderapi.store.open import open_store
from orderapi.web import health, orders, problems, request_id
from orderapi.web.lean import LeanFlask


def create_app(settings: Settings, store: Store | None = None) -> Flask:
    """Make the WSGI application.

    It expects a database that `store.prepare()` has made; it opens it with the first request.
    """
    if store is None:
        # On threads, half of them stay free for those who only read; greenlets are plenty.
        bound = settings.threads // 2 if settings.worker_class == "gthread" else None
        store = open_store(settings.database_url, waiting_when_stuck=bound)
    app = LeanFlask("orderapi.web", static_folder=None)
    app.extensions["store"] = store
    # `/orders/` and `//orders` are other paths, and not found.
    app.url_map.merge_slashes = False
    request_id.register(app)
    problems.register(app)
    app.register_blueprint(health.blueprint(store))
    app.register_blueprint(orders.blueprint(store, fault_injection=settings.fault_injection))
    return app
