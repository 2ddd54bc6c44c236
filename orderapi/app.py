"""Makes the WSGI application from its parts, in the order in which a reader needs them."""

from flask import Flask

from orderapi.auth import Tokens
from orderapi.events.feed import Feed
from orderapi.events.places import Places
from orderapi.settings import Settings
from orderapi.store.contract import Store
from orderapi.store.open import open_store
from orderapi.telemetry import Telemetry
from orderapi.web import (
    auth,
    events,
    failures,
    health,
    metrics,
    orders,
    problem_pages,
    proxy,
    this_request,
)
from orderapi.web.dispatch import LeanFlask
from orderapi.web.openapi import pages
from orderapi.web.openapi.document import Features, write_document


def create_app(settings: Settings, store: Store | None = None) -> Flask:
    """Make the WSGI application.

    `store.prepare()` must have made the database. The application opens it with the first request.
    """
    store = store or open_store(settings.database_url)
    has_tokens = settings.auth == "required"
    feed = Feed(store, Places(has_several_clients=has_tokens))
    telemetry = Telemetry()
    store.measure_with(telemetry)
    telemetry.watch(queue_length=store.writes_in_hand, waiting_readers=feed.waiting_readers)
    tokens = Tokens(store) if has_tokens else None
    readiness = health.Readiness(store)
    app = LeanFlask("orderapi.web", static_folder=None)
    app.extensions["store"] = store
    app.extensions["feed"] = feed
    app.extensions["tokens"] = tokens
    app.extensions["telemetry"] = telemetry
    # `/orders//x` is another path than `/orders/x`, and is not found.
    app.url_map.merge_slashes = False
    this_request.register(app, telemetry)
    proxy.register(app)
    auth.register(app, tokens)
    failures.register(app, telemetry)
    app.register_blueprint(problem_pages.blueprint)
    app.register_blueprint(health.blueprint(readiness))
    app.register_blueprint(
        orders.blueprint(store, telemetry, fault_injection=settings.fault_injection)
    )
    app.register_blueprint(events.blueprint(feed))
    app.register_blueprint(metrics.blueprint(store, telemetry, readiness))
    features = Features(requires_token=tokens is not None, fault_injection=settings.fault_injection)
    app.register_blueprint(
        pages.blueprint(lambda: write_document(app.url_map.iter_rules(), features))
    )
    return app
