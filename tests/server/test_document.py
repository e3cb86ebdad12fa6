"""Requests made up from the OpenAPI document: no answer is a fault of the server, and all are as the document says."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from speechgen.server.application import build
from speechgen.server.settings import ServerSettings
from speechgen.service import music
from speechgen.service.engine import Engine
from speechgen.service.jobs import JobQueue

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


OPERATIONS = 9


def test_no_made_up_request_is_a_fault(home, monkeypatch):
    monkeypatch.setattr(music, "models", list)  # the bundled one takes its time
    queue = JobQueue([Engine("cpu")])
    application = build(ServerSettings(pipeline="tiny", device="cpu", hosts=("testserver",)), queue)
    schema = schemathesis.openapi.from_asgi("/openapi.json", application)
    seen = [tried(found.ok()) for found in schema.get_all_operations()]
    queue.close()
    assert len(seen) == OPERATIONS and all(statuses for statuses in seen)
    assert set().union(*seen) >= {200, 400, 404}


def tried(operation):
    """Ask an operation some things, check the answers, and return their statuses."""
    statuses = set()

    @settings(
        max_examples=12, deadline=None, derandomize=True, database=None,
        phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)))
    def ask(case):
        response = case.call()
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    ask()
    return statuses
