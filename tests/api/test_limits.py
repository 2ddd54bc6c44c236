"""The table of limits in the documentation has every limit of a request, with its true value."""

import importlib
import pkgutil
import re

import orderapi.web
from tests.support.pages import BY_PATH

# The modules in which a limit of a request may be, beside those of the folder `web`.
MODULES = ["orderapi.server.limits", "orderapi.events.places", "orderapi.fields"]
# These constants are computed from others, or they do not limit what a client sends.
NO_LIMITS_OF_A_REQUEST = {
    "BODY_READ_MAX_BYTES",
    "PATH_MAX_CHARS",
    "READ_MAX_BYTES",
    "SEQUENCE_MAX",
    "SWEEP_LATE_MAX_S",
}
LIMIT = re.compile(r"[A-Z][A-Z_]*_MAX(_[A-Z]+)?")


def value_of(name: str) -> float:
    module, _, constant = name.rpartition(".")
    return float(getattr(importlib.import_module(module), constant))


def limits_in_code() -> set[str]:
    """Give the names of all public constants that are a maximum."""
    web = pkgutil.walk_packages(orderapi.web.__path__, "orderapi.web.")
    modules = [*MODULES, *(module.name for module in web)]
    return {
        name
        for module in modules
        for name in vars(importlib.import_module(module))
        if LIMIT.fullmatch(name)
    }


def test_the_table_has_every_limit_with_its_value() -> None:
    table = {
        constant.strip("`"): value
        for _, value, constant, _ in BY_PATH["orderapi/README.md"].rows("| limit |")
    }
    for constant, value in table.items():
        assert float(value.split()[0].replace(",", "")) == value_of(constant), constant
    named = {constant.rpartition(".")[2] for constant in table}
    assert limits_in_code() - named - NO_LIMITS_OF_A_REQUEST == set()
