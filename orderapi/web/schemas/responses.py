"""The schema of each successful answer, by the endpoint of its view and by its status.

All answers of the type `application/problem+json` have the schema FAILURE.
"""

from collections.abc import Mapping

from marshmallow import Schema

from orderapi.web.schemas.events import EventPageSchema
from orderapi.web.schemas.health import HealthSchema, ReadinessSchema
from orderapi.web.schemas.orders import OrderPageSchema, OrderSchema
from orderapi.web.schemas.problems import ProblemSchema, ProblemTypeSchema

RESPONSES: Mapping[str, Mapping[int, Schema]] = {
    "orders.create_order": {201: OrderSchema()},
    "orders.show_order": {200: OrderSchema()},
    "orders.list_orders": {200: OrderPageSchema()},
    "events.list_events": {200: EventPageSchema()},
    "health.show_liveness": {200: HealthSchema()},
    "health.show_readiness": {200: ReadinessSchema()},
    "problems.show_problem": {200: ProblemTypeSchema()},
}
FAILURE = ProblemSchema()
# These views answer with text that is not JSON, or with the OpenAPI document itself.
WITHOUT_SCHEMA = (
    "metrics.show_metrics",
    "openapi.show_document",
    "openapi.show_page",
    "openapi.send_file",
)
