"""Flask with a short way from a request to its view, and from the view to the response.

Blueprints, views, error handlers, `before_request` functions, `flask.request` and `flask.g` are
Flask's own. What Flask does around a view, and what this service does not use, is left out:
sessions, signals, functions that run after a request, and the choice of a host.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flask import Flask, Request
from flask.ctx import AppContext, RequestContext
from flask.globals import _cv_app, _cv_request
from flask.sessions import NullSession
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, MapAdapter, Rule

from orderapi.web import this_request
from orderapi.web.whole_response import WholeResponse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_NO_HOST = ""
_NO_SESSION = NullSession()
_NO_ARGUMENTS: Mapping[str, str] = {}


class LeanFlask(Flask):
    """Flask for one host.

    It replaces one method of Flask, `wsgi_app`, which is public. This saves 100 to 200 microseconds
    of CPU per request. `tests/api/test_dispatch.py` fails when Flask changes what this class
    replaces.
    """

    _rules: "_Rules | None" = None

    def wsgi_app(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer one request."""
        context = _Context(self, environ)
        app_token = _cv_app.set(AppContext(self))
        request_token = _cv_request.set(context)
        try:
            answer: Iterable[bytes] = self._respond(context)(environ, start_response)
            return answer
        finally:
            _cv_request.reset(request_token)
            _cv_app.reset(app_token)

    def _respond(self, context: "_Context") -> Any:
        try:
            returned = self._dispatch(context)
        except Exception as error:
            returned = self.handle_user_exception(error)
        return returned if type(returned) is WholeResponse else self.make_response(returned)

    def _dispatch(self, context: "_Context") -> Any:
        context.match(self._known_rules())
        if context.environ["REQUEST_METHOD"] == "OPTIONS" and context.rule is not None:
            return _answer_options(context)
        for function in self.before_request_funcs.get(None, ()):
            returned = function()
            if returned is not None:
                return returned
        if context.rule is None:
            raise context.failure
        return self.view_functions[context.rule.endpoint](**context.arguments)

    def _known_rules(self) -> "_Rules":
        if self._rules is None:
            self._got_first_request = True
            self._refuse_unsupported_functions()
            self._rules = _Rules(self.url_map)
        return self._rules

    def _refuse_unsupported_functions(self) -> None:
        unsupported = [
            *self.after_request_funcs,
            *self.teardown_request_funcs,
            *self.teardown_appcontext_funcs,
            *self.url_value_preprocessors,
            *(name for name in self.before_request_funcs if name is not None),
        ]
        if unsupported:
            raise RuntimeError("LeanFlask calls only before_request functions of the app")


class _Rules:
    """The rules of an app that are found by a look-up, without Werkzeug's search.

    These are the rules without arguments, and those whose only argument is the last part of the
    path, as in `/orders/<order_id>`. The search takes 15 microseconds of CPU per request.
    """

    def __init__(self, url_map: Map) -> None:
        self._fixed: dict[tuple[str, str], Rule] = {}
        # By the text before the argument, with the name of the argument.
        self._with_last_part: dict[tuple[str, str], tuple[Rule, str]] = {}
        for rule in url_map.iter_rules():
            before, bracket, argument = rule.rule.partition("<")
            for method in rule.methods or ():
                if not bracket:
                    self._fixed[rule.rule, method] = rule
                elif before.endswith("/") and argument[:-1].isidentifier():
                    self._with_last_part[before, method] = rule, argument[:-1]

    def find(self, path: str, method: str) -> tuple[Rule, Mapping[str, str]] | None:
        """Return a rule and its arguments. None if only Werkzeug's search can tell."""
        rule = self._fixed.get((path, method))
        if rule is not None:
            return rule, _NO_ARGUMENTS
        before, slash, last = path.rpartition("/")
        found = self._with_last_part.get((before + slash, method))
        # A path that is not ASCII must be decoded before.
        if found is None or not last or not path.isascii():
            return None
        return found[0], {found[1]: last}


def _answer_options(context: "_Context") -> WholeResponse:
    response = WholeResponse(status=204, media_type=None)
    response.add_header("Allow", ", ".join(sorted(context.adapter().allowed_methods())))
    return response


class _Context(RequestContext):
    """What Flask's proxies show of one request; a `flask.Request` is made when it is needed."""

    def __init__(self, app: Flask, environ: "WSGIEnvironment") -> None:
        # Flask's own constructor would make the request. These are its attributes.
        self.app = app
        self.url_adapter = None
        self.flashes = None
        self._session = _NO_SESSION
        self._after_request_functions = []
        self._cv_tokens = []
        self._request: Request | None = None
        self.environ = environ
        self.rule: Rule | None = None
        self.arguments: Mapping[str, Any] = {}
        self.failure: HTTPException = NotFound()

    @property
    def request(self) -> Request:  # type: ignore[override]  # a plain attribute in Flask
        """Return the request, with what routing has found."""
        if self._request is None:
            self._request = request = self.app.request_class(self.environ)
            request.json_module = self.app.json
            request.url_rule, request.view_args = self.rule, dict(self.arguments)
            request.routing_exception = None if self.rule else self.failure
        return self._request

    def adapter(self) -> MapAdapter:
        """Return what matches this request by its path and method alone."""
        return MapAdapter(
            self.app.url_map,
            _NO_HOST,
            "/",
            "",
            self.environ["wsgi.url_scheme"],
            this_request.decoded_path(self.environ),
            self.environ["REQUEST_METHOD"],
        )

    def match(self, rules: _Rules) -> None:
        """Find the rule of this request, or the failure that says why there is none."""
        path = self.environ.get("PATH_INFO", "")
        found = rules.find(path, self.environ["REQUEST_METHOD"])
        if found is not None:
            self.rule, self.arguments = found
        # Werkzeug would remove all leading slashes but one, and find another path.
        elif not path.startswith("//"):
            try:
                self.rule, self.arguments = self.adapter().match(return_rule=True)
            except HTTPException as failure:
                self.failure = failure
        this_request.current().rule = self.rule
