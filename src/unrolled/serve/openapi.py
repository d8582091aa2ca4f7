"""The description of the API, in the OpenAPI format, version 3.1."""

from __future__ import annotations

from typing import Any

from ..version import __version__
from .limits import Limits

_REFUSALS = {
    400: "The body is not JSON in UTF-8.",
    401: "A token is wanted, and none or a wrong one was given.",
    403: "A page of another origin asked.",
    404: "There is no such session, or nothing at this address.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    421: "The Host header names another machine.",
    422: "A field is missing, wrong or out of its bounds, or a symbol is unknown to the model.",
    429: "Too many at once of one kind; try again after the seconds in Retry-After.",
    503: "The server is busy, ending, or took too long; try again.",
}
_MODEL = {"type": "string", "description": "One of /v1/models; without it the first."}
_NEXT = {
    "type": "object",
    "additionalProperties": {"type": "number"},
    "description": "Probabilities of the likeliest next symbols, the likeliest first.",
}


def description(limits: Limits) -> dict[str, Any]:
    """Every route with its fields, bounds and answers."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "unrolled",
            "version": __version__,
            "description": "Recurrent networks over symbols: predictions, streamed text, sessions.",
        },
        "paths": _sessions(limits) | _models(limits) | _server(),
        "components": {
            "schemas": {
                "Refusal": _object(
                    error={"type": "string", "description": "What was wrong."},
                    do={"type": "string", "description": "What to do about it."},
                )
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _models(limits: Limits) -> dict[str, Any]:
    texts = {"type": "array", "items": _text(limits.text), "maxItems": limits.texts}
    predict = _operation(
        "Classes of whole texts, or the symbols that may come next",
        _object(predictions={"type": "array", "items": {"type": "object"}}),
        body=_object(["texts"], texts=texts, model=_MODEL, top=_whole(1, None)),
    )
    generate = _operation(
        'A text, streamed: events with {"symbol"}, then the event `end` with {"text"}, or `error`',
        None,
        media="text/event-stream",
        body=_object(
            [],
            prompt=_text(limits.text),
            length=_whole(1, limits.length),
            temperature={"type": "number", "minimum": 0, "maximum": 100, "default": 0.8},
            top_k=_whole(1, 1_000_000),
            seed=_whole(0, 2**63 - 1),
            model=_MODEL,
        ),
    )
    models = _object(models={"type": "array", "items": {"type": "object"}}, limits={"type": "object"})
    return {
        "/v1/predict": {"post": predict},
        "/v1/generate": {"post": generate},
        "/v1/models": {"get": _operation("What is served", models)},
        "/v1/lesson": {"get": _operation("One tensor read along two axes", {"type": "object"})},
    }


def _sessions(limits: Limits) -> dict[str, Any]:
    opened = _object(id={"type": "string"}, model={"type": "string"}, bytes={"type": "integer"})
    prediction = _object(["symbol", "next"], symbol={"type": "string"}, next=_NEXT)
    stepped = _object(
        symbols={"type": "integer", "description": "How many the session has read in all."},
        predictions={"type": "array", "items": prediction},
    )
    body = _object(
        ["text"],
        text=_text(limits.text),
        top=_whole(0, None),
        see={
            "type": "boolean",
            "description": "Also the symbol's number, the hidden state, every layer's states and gates, "
            f"of {limits.seen} symbols at most.",
        },
        model=_MODEL,
    )
    one = _object(model={"type": "string"}, symbols={"type": "integer"}, bytes={"type": "integer"})
    id = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    close = _operation("Ends a session", None, good=204)
    return {
        "/v1/sessions": {
            "post": _operation("A new session", opened, body=_object([], model=_MODEL), good=201)
        },
        "/v1/sessions/{id}": {
            "parameters": id,
            "get": _operation("How far a session has read", one),
            "delete": close,
        },
        "/v1/sessions/{id}/step": {
            "parameters": id,
            "post": _operation("The prediction after each symbol", stepped, body=body),
        },
    }


def _server() -> dict[str, Any]:
    health = _object(status={"type": "string"}, version={"type": "string"})
    metrics = _operation("The counters, for Prometheus", {"type": "string"}, media="text/plain")
    return {
        "/health": {"get": _operation("Whether it serves", health)},
        "/metrics": {"get": metrics},
    }


def _operation(
    summary: str,
    answer: dict[str, Any] | None,
    *,
    body: dict[str, Any] | None = None,
    good: int = 200,
    media: str = "application/json",
) -> dict[str, Any]:
    content = {} if good == 204 else {"content": {media: {"schema": answer} if answer else {}}}
    refusal = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
    answers = {str(good): {"description": "Done.", **content}}
    answers |= {str(s): {"description": told, "content": refusal} for s, told in _REFUSALS.items()}
    operation: dict[str, Any] = {"summary": summary, "responses": answers}
    if body is not None:
        wanted = bool(body.get("required"))
        operation["requestBody"] = {"required": wanted, "content": {"application/json": {"schema": body}}}
    return operation


def _object(required: list[str] | None = None, **fields: Any) -> dict[str, Any]:
    """An object of these fields, all of them required unless some are named."""
    names = list(fields) if required is None else required
    closed = {} if required is None or "symbol" in fields else {"additionalProperties": False}
    return {"type": "object", "properties": fields, "required": names, **closed}


def _text(most: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": most}


def _whole(least: int, most: int | None) -> dict[str, Any]:
    bounds = {"minimum": least} if most is None else {"minimum": least, "maximum": most}
    return {"type": "integer", **bounds}
