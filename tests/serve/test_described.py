"""Requests made from the OpenAPI description, right ones and wrong ones: every answer is as described."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unrolled.serve.limits import Limits
from unrolled.serve.openapi import description

from .conftest import Server

schemathesis = pytest.importorskip("schemathesis")

LIMITS = Limits(length=30, text=200)
SCHEMA = schemathesis.openapi.from_dict(description(LIMITS))
OPERATIONS = [operation.ok() for operation in SCHEMA.get_all_operations()]
RIGHT, WRONG = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
CASES = [(operation, RIGHT) for operation in OPERATIONS]
CASES += [(operation, WRONG) for operation in OPERATIONS if operation.body]
CHECKS = [
    schemathesis.checks.CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
    )
]


@pytest.fixture(scope="module")
def limited(folders, tmp_path_factory):
    """A server of those limits."""
    place = tmp_path_factory.mktemp("described")
    limits = ("--length", LIMITS.length, "--text", LIMITS.text)
    server = Server(place, *folders, *limits, "--sessions", "memory:")
    yield server
    server.alive()
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text(), server.log.read_text()


@pytest.mark.parametrize(
    ("operation", "mode"), CASES, ids=lambda part: getattr(part, "label", None) or part.value
)
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(operation, mode, limited, data):
    there = "{id}" in operation.path and data.draw(st.booleans())
    fixed = {"path_parameters": {"id": limited.open()}} if there else {}
    case = data.draw(operation.as_strategy(generation_mode=mode, **fixed))
    case.validate_response(case.call(base_url=limited.url, timeout=20), checks=CHECKS)
