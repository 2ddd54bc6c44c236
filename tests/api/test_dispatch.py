"""`LeanFlask` answers like Flask, for all features of Flask that this service uses."""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import flask
import pytest
from flask.ctx import AppContext, RequestContext
from hypothesis import assume, given
from hypothesis import strategies as st
from werkzeug.routing import MapAdapter

from orderapi.app import create_app
from orderapi.settings import read_settings
from orderapi.web import this_request
from orderapi.web.dispatch import LeanFlask, _Context
from orderapi.web.whole_response import WholeResponse

# `LeanFlask` replaces these parts of Flask, or uses them although they are not public. Read the
# changes of a new version before you write its digests here.
WRITTEN_FOR = {
    flask.Flask.wsgi_app: "b813e40b29d1d704",
    flask.Flask.full_dispatch_request: "70d46cf2d53c3b0e",
    flask.Flask.preprocess_request: "74a4cb2d980d5a91",
    flask.Flask.dispatch_request: "62c7e9d15772724a",
    flask.Flask.finalize_request: "c1bcdc5b112f8a44",
    flask.Flask.process_response: "8f4afb5f9ec8c24b",
    flask.Flask.handle_user_exception: "a0657e4e84d544d4",
    RequestContext.__init__: "64e04eb6fbcbae6a",
    RequestContext.push: "ace499f160e06e2d",
    RequestContext.match_request: "919ccbf8eafa1cce",
    RequestContext.pop: "2722557a094cf9a3",
    AppContext.__init__: "8827b899894282a6",
    AppContext.push: "744ad6afc2b258f4",
    AppContext.pop: "906da921924f8034",
}


@pytest.mark.parametrize("method", WRITTEN_FOR, ids=lambda method: method.__qualname__)
def test_the_parts_of_flask_that_lean_flask_depends_on_have_not_changed(
    method: Callable[..., Any],
) -> None:
    source = inspect.getsource(method)
    assert hashlib.sha256(source.encode()).hexdigest()[:16] == WRITTEN_FOR[method]


def test_werkzeug_has_the_parameters_that_lean_flask_passes() -> None:
    assert list(inspect.signature(MapAdapter).parameters) == [
        "map",
        "server_name",
        "script_name",
        "subdomain",
        "url_scheme",
        "path_info",
        "default_method",
        "query_args",
    ]


def test_a_context_has_every_attribute_that_flask_gives_it() -> None:
    app = LeanFlask(__name__)
    environ = new_environ("GET", "/")
    theirs = vars(RequestContext(app, environ))
    ours = _Context(app, environ)
    assert [name for name in theirs if not hasattr(ours, name)] == []
    assert ours.request.path == theirs["request"].path


def new_environ(method: str, path: str) -> dict[str, Any]:
    return dict(flask.Flask(__name__).test_request_context(path, method=method).request.environ)


def add_views(app: flask.Flask) -> flask.Flask:
    """Add views of many kinds, with Flask alone."""
    app.url_map.merge_slashes = False
    views = flask.Blueprint("views", __name__)

    @views.get("/things")
    def list_things() -> Any:
        return {"query": flask.request.args.get("q"), "rule": str(flask.request.url_rule)}

    @views.post("/things")
    def make_thing() -> Any:
        return "made", 201, {"Location": "/things/1"}

    @views.get("/things/<name>")
    def show_thing(name: str) -> Any:
        return flask.jsonify(name=name, args=flask.request.view_args, method=flask.request.method)

    @views.get("/fails")
    def fail() -> Any:
        raise LookupError("failed")

    @views.get("/page")
    def show_page() -> Any:
        return flask.render_template_string("{{ request.path }} {{ g.before }} {{ config.DEBUG }}")

    @app.before_request
    def note_something() -> Any:
        flask.g.before = flask.current_app.name
        return ("refused", 403) if "refuse" in flask.request.args else None

    @app.errorhandler(LookupError)
    def explain(error: LookupError) -> Any:
        return f"{type(error).__name__} {flask.request.path}", 500

    app.register_blueprint(views)
    return app


LEAN = add_views(LeanFlask("lean"))
FLASK = add_views(flask.Flask("lean"))


def with_id(app: flask.Flask) -> flask.Flask:
    """Give each request of `app` the record that the dispatch notes its rule in."""
    this_request.register(app, create_app(read_settings({})).extensions["telemetry"])
    return app


with_id(LEAN)

methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X-Y"])
segments = st.one_of(
    st.sampled_from(
        ["things", "fails", "page", "Things", "%2f", "caf%C3%A9", "%ff", ".", "..", ""]
    ),
    st.text(st.characters(max_codepoint=0x7F, exclude_characters="?#"), max_size=5),
)
queries = st.sampled_from(["", "?q=1", "?refuse=1", "?q=%ff&q=2"])


@given(methods, st.lists(segments, min_size=1, max_size=4), queries)
def test_every_request_gets_the_answer_that_flask_would_give(
    method: str, path: list[str], query: str
) -> None:
    target = "/" + "/".join(path) + query
    # Flask would answer `//things` as `/things`.
    assume(not unquote(target).startswith("//"))
    theirs = FLASK.test_client().open(target, method=method)
    ours = LEAN.test_client().open(target, method=method)
    if method == "OPTIONS" and ours.status_code == 204:
        # Flask answers with 200, and calls `before_request` functions first.
        assert theirs.status_code in (200, 403)
    else:
        assert (ours.status, ours.data) == (theirs.status, theirs.data)
        assert ours.headers.get("Location") == theirs.headers.get("Location")
    if theirs.status_code != 403:
        assert methods_in(ours.headers.get("Allow")) == methods_in(theirs.headers.get("Allow"))


def methods_in(header: str | None) -> set[str]:
    return set(header.split(", ")) if header else set()


def test_after_a_request_nothing_of_it_is_kept() -> None:
    LEAN.test_client().get("/things?q=1")
    assert not flask.has_request_context()
    assert not flask.has_app_context()
    assert this_request.current(None) is None


@pytest.mark.parametrize(
    "add",
    [
        lambda app: app.after_request(lambda response: response),
        lambda app: app.teardown_request(lambda _: None),
        lambda app: app.teardown_appcontext(lambda _: None),
        lambda app: app.url_value_preprocessor(lambda *_: None),
        lambda app: app.before_request_funcs.setdefault("views", []).append(lambda: None),
    ],
)
def test_a_function_that_lean_flask_would_never_call_is_refused(
    add: Callable[[flask.Flask], Any],
) -> None:
    app = with_id(add_views(LeanFlask(__name__)))
    add(app)
    with pytest.raises(RuntimeError, match="calls only before_request functions"):
        app.test_client().get("/things")


def test_a_head_request_gets_the_headers_of_a_get_request() -> None:
    app = with_id(LeanFlask(__name__))

    @app.get("/")
    def show() -> Any:
        return WholeResponse("caf\u00e9", 200, "text/plain; charset=utf-8")

    got, head = app.test_client().get("/"), app.test_client().head("/")
    assert (got.data, head.data) == ("caf\u00e9".encode(), b"")
    assert got.headers["Content-Length"] == head.headers["Content-Length"] == "5"
    assert got.status == head.status == "200 OK"
