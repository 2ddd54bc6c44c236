"""The resource `/problems/{slug}`: what a problem type means and what its reader can do."""

from flask import Blueprint, render_template, request

from orderapi.documents import dump
from orderapi.errors import ProblemNotFound
from orderapi.web.problems import BY_SLUG
from orderapi.web.whole_response import WholeResponse

blueprint = Blueprint("problems", __name__)


@blueprint.get("/problems/<slug>")
def show_problem(slug: str) -> WholeResponse:
    """Explain a problem type: with a page for people, or with JSON for programs."""
    problem = BY_SLUG.get(slug)
    if problem is None:
        raise ProblemNotFound("There is no problem type with this name.")
    accepted = request.accept_mimetypes.best_match(["application/json", "text/html"])
    if accepted == "text/html":
        page = WholeResponse(
            render_template("problem.html", problem=problem), media_type="text/html; charset=utf-8"
        )
        page.add_header("Vary", "Accept")
        return page
    document = {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "meaning": problem.meaning,
        "what_to_do": problem.remedy,
        "retryable": problem.retryable,
        "key_action": problem.key_action,
    }
    response = WholeResponse(dump(document))
    response.add_header("Vary", "Accept")
    return response
