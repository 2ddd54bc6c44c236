"""The page `/`, and the page of the search, which finds an id of any kind."""

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response

from orderapi.console import finding
from orderapi.store.contract import Store

SEE_OTHER = 303


def blueprint(store: Store) -> Blueprint:
    """Return the pages that search in a store."""
    search = Blueprint("search", __name__)

    @search.get("/")
    def start() -> str:
        return render_template("start.html")

    @search.get("/search")
    def show_results() -> str | Response:
        query = request.args.get("q", "").strip()
        if not query:
            return redirect("/", SEE_OTHER)
        if len(query) > finding.QUERY_MAX_CHARS:
            return render_template("search.html", query=query[:80], is_too_long=True)
        hits, misses = store.read(lambda tx: finding.find(tx, query))
        paths = {hit.path for hit in hits}
        if len(paths) == 1:
            return redirect(paths.pop(), SEE_OTHER)
        return render_template("search.html", query=query, hits=hits, misses=misses)

    return search
