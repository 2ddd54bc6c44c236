"""The resource `/problems/{slug}`: what a problem type means and what a developer can do."""

import base64
import hashlib
from pathlib import Path

from flask import Blueprint, render_template, request

from orderapi.documents import dump
from orderapi.errors import ProblemNotFound
from orderapi.web import response_headers
from orderapi.web.problems import BY_SLUG, Problem
from orderapi.web.whole_response import WholeResponse

blueprint = Blueprint("problems", __name__)

_STYLE = Path(__file__).with_name("templates").joinpath("problem.css").read_text()
# The page may use this style and no other one (CSP Level 3, section 2.3.1).
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


@blueprint.get("/problems/<slug>")
def show_problem(slug: str) -> WholeResponse:
    """Explain a problem type, with a page for people or with JSON for programs."""
    problem = BY_SLUG.get(slug)
    if problem is None:
        raise ProblemNotFound("There is no problem type with this name.")
    accepted = request.accept_mimetypes.best_match(["application/json", "text/html"])
    if accepted == "text/html":
        return _page(problem)
    response = WholeResponse(dump(explain(problem)))
    response.add_header("Vary", "Accept")
    return response


def explain(problem: Problem) -> dict[str, object]:
    """Return the explanation of a problem type as a JSON document."""
    return {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "meaning": problem.meaning,
        "what_to_do": problem.remedy,
        "retryable": problem.retryable,
        "key_action": problem.key_action,
    }


def _page(problem: Problem) -> WholeResponse:
    page = WholeResponse(
        render_template("problem.html", problem=problem, style=_STYLE),
        media_type="text/html; charset=utf-8",
    )
    page.add_header("Vary", "Accept")
    page.headers += response_headers.of_page(f"style-src 'sha256-{_STYLE_HASH}'")
    return page
