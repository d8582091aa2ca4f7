"""Which handler answers an address: a dictionary for the fixed ones, an expression for those with a name.

Only what the server needs: the guard around it answers what is raised, so that the layers of a whole
framework, which cost more time than a step of a session, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .limits import Refused

Handler = Callable[[Request], Awaitable[Response]]


class Route(NamedTuple):
    """An address, perhaps with one {name} of a part of it; what the metrics call it; its handler."""

    path: str
    name: str
    handler: Handler
    method: str


class Router:
    """An ASGI application of routes. Raises Refused where there is none; GET answers HEAD too."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = list(routes)
        self._fixed: dict[str, dict[str, Route]] = {}
        patterns: dict[str, dict[str, Route]] = {}
        for route in routes:
            there = patterns if "{" in route.path else self._fixed
            there.setdefault(route.path, {})[route.method] = route
        self._patterns = [(_expression(path), methods) for path, methods in patterns.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; the guard has read its body into the scope."""
        route = self._find(scope)
        scope["route_name"] = route.name
        response = await route.handler(Request(scope, receive))
        await response(scope, receive, send)

    def _find(self, scope: Scope) -> Route:
        path, method = scope["path"], scope["method"]
        methods, scope["path_params"] = self._fixed.get(path), {}
        if methods is None:
            for expression, those in self._patterns:
                if found := expression.fullmatch(path):
                    methods, scope["path_params"] = those, found.groupdict()
                    break
            else:
                raise Refused(404, "there is nothing here", "see /openapi.json for what there is")
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join(methods)
            raise Refused(405, f"{path[:50]!a} takes {allowed}", "see /openapi.json", {"allow": allowed})
        return route


def _expression(path: str) -> re.Pattern[str]:
    parts = re.split(r"{(\w+)}", path)
    named = [f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts)]
    return re.compile("".join(named), re.DOTALL)
