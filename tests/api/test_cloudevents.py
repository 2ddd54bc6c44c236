"""Events in the form that clients read: CloudEvents 1.0 JSON."""

import json

import pytest

from orderapi.events.cloudevents import event_json
from orderapi.records import Event

PAYLOAD = (
    '{"order_id":"01a202e0-d182-7c3e-a538-30c0bd066e7f","customer_id":"caf\u00e9 \\"1\\"",'
    '"item_id":"item1","quantity":1,"status":"created"}'
)


def event(sequence: int) -> Event:
    return Event(
        sequence,
        "4b7a6c1e-6f0e-4a53-9d0e-0a3f1c2b4d5e",
        "order.created",
        "01a202e0-d182-7c3e-a538-30c0bd066e7f",
        "public",
        PAYLOAD,
        "2026-11-22T10:50:17.858Z",
    )


def test_an_event_has_the_members_of_the_contract() -> None:
    assert json.loads(event_json(event(7))) == {
        "specversion": "1.0",
        "id": "4b7a6c1e-6f0e-4a53-9d0e-0a3f1c2b4d5e",
        "source": "/orders",
        "type": "order.created",
        "subject": "01a202e0-d182-7c3e-a538-30c0bd066e7f",
        "time": "2026-11-22T10:50:17.858Z",
        "datacontenttype": "application/json",
        "sequence": "0000000000000000007",
        "data": {
            "order_id": "01a202e0-d182-7c3e-a538-30c0bd066e7f",
            "customer_id": 'caf\u00e9 "1"',
            "item_id": "item1",
            "quantity": 1,
            "status": "created",
        },
    }


@pytest.mark.parametrize("smaller", [0, 1, 9, 99, 2**31 - 1, 2**63 - 2])
def test_sequences_are_ordered_as_text(smaller: int) -> None:
    first, second = (json.loads(event_json(event(n)))["sequence"] for n in (smaller, smaller + 1))
    assert first < second
    assert (int(first), int(second)) == (smaller, smaller + 1)
