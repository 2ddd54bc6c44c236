"""What schemathesis loads before it makes requests; see `SCHEMATHESIS_HOOKS`."""

import re
import uuid
from typing import Any

import schemathesis

from orderapi.web.schemas.fields import KEY_HEADER_PATTERN

_KEY = "Idempotency-Key"


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, object]
) -> None:
    """Give each request a key of its own, if it has a valid key.

    So no request is a retry of another one, or is answered with 409. A key that is not valid stays,
    because the service should refuse it.
    """
    del context, kwargs
    if re.fullmatch(KEY_HEADER_PATTERN, str(case.headers.get(_KEY, ""))):
        case.headers[_KEY] = str(uuid.uuid4())
