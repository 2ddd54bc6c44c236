"""Flask with less work for each request than Flask itself does.

Blueprints, views, error handlers, `before_request` functions, `flask.request` and `flask.g` work as
in Flask. The parts of Flask that this service does not use are left out: sessions, signals,
functions that run after a request, and routing by host.
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

    It replaces one public method of Flask, `wsgi_app`. This saves 100 to 200 microseconds of CPU
    per request. `tests/api/test_dispatch.py` fails when Flask changes the parts that this class
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
    """The rules of an app that can be found in a dictionary, without the search of Werkzeug.

    These are the rules without arguments, and those whose only argument is the last part of the
    path, as in `/orders/<order_id>`. The search takes 15 microseconds of CPU per request.
    """

    def __init__(self, url_map: Map) -> None:
        self._fixed: dict[tuple[str, str], Rule] = {}
        # The key is the text before the argument. The value has the name of the argument.
        self._with_last_part: dict[tuple[str, str], tuple[Rule, str]] = {}
        for rule in url_map.iter_rules():
            before, bracket, argument = rule.rule.partition("<")
            for method in rule.methods or ():
                if not bracket:
                    self._fixed[rule.rule, method] = rule
                elif before.endswith("/") and argument[:-1].isidentifier():
                    self._with_last_part[before, method] = rule, argument[:-1]

    def find(self, path: str, method: str) -> tuple[Rule, Mapping[str, str]] | None:
        """Return a rule and its arguments, or None if the search of Werkzeug must decide."""
        rule = self._fixed.get((path, method))
        if rule is not None:
            return rule, _NO_ARGUMENTS
        before, slash, last = path.rpartition("/")
        found = self._with_last_part.get((before + slash, method))
        # A path that is not ASCII must be decoded first, and Werkzeug does that.
        if found is None or not last or not path.isascii():
            return None
        return found[0], {found[1]: last}


def _answer_options(context: "_Context") -> WholeResponse:
    response = WholeResponse(status=204, media_type=None)
    response.add_header("Allow", ", ".join(sorted(context.adapter().allowed_methods())))
    return response


class _Context(RequestContext):
    """The object behind `flask.request`. The `flask.Request` is made only when it is needed."""

    def __init__(self, app: Flask, environ: "WSGIEnvironment") -> None:
        # The constructor of Flask is not called, because it would make a `flask.Request`. It would
        # set the following attributes.
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
        """Return the request with its rule and its arguments."""
        if self._request is None:
            self._request = request = self.app.request_class(self.environ)
            request.json_module = self.app.json
            request.url_rule, request.view_args = self.rule, dict(self.arguments)
            request.routing_exception = None if self.rule else self.failure
        return self._request

    def adapter(self) -> MapAdapter:
        """Return the object of Werkzeug that finds the rule by the path and the method alone."""
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
        """Set `rule` and `arguments`, or set `failure` to the reason why no rule matches."""
        path = self.environ.get("PATH_INFO", "")
        found = rules.find(path, self.environ["REQUEST_METHOD"])
        if found is not None:
            self.rule, self.arguments = found
        # Werkzeug would remove all leading slashes but one, and match another path.
        elif not path.startswith("//"):
            try:
                self.rule, self.arguments = self.adapter().match(return_rule=True)
            except HTTPException as failure:
                self.failure = failure
        this_request.current().rule = self.rule
