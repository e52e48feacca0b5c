"""The service `Budgets` as JSON over HTTP, the health and metrics pages.

JSON is that of protobuf with the names of schemas/budget.proto; money and tokens are decimal strings. What is not
accepted is a problem of RFC 9457 with the reply's fields beside its own.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from schemas import budget_pb2 as pb
from services.budget.desk import Desk
from services.budget.settings import Settings
from services.shared.addresses import is_loopback
from services.shared.answers import Refusal, Refused
from services.shared.pages import healthy, metrics_page, readiness

# 402 for a refusal: clients repeat a 429 by themselves, which cannot help here.
_STATUS = {
    pb.OUTCOME_ACCEPTED: 200,
    pb.OUTCOME_REFUSED: 402,
    pb.OUTCOME_NOT_FOUND: 404,
    pb.OUTCOME_UNKNOWN_KEY: 404,
    pb.OUTCOME_INVALID: 422,
    pb.OUTCOME_AMOUNT_UNKNOWN: 422,
}
_CONFLICT = 409
_TITLES = {
    pb.OUTCOME_REFUSED: "A hard budget has no room for it",
    pb.OUTCOME_ALREADY_EXISTS_WITH_DIFFERENT_CONTENT: "The request id is known with other content",
    pb.OUTCOME_ALREADY_SETTLED: "The reservation is settled already",
    pb.OUTCOME_ALREADY_RELEASED: "The reservation is released already",
    pb.OUTCOME_ALREADY_CHARGED: "The call was charged without a reservation",
    pb.OUTCOME_EXPIRED: "The reservation has expired",
    pb.OUTCOME_NOT_FOUND: "There is no such reservation",
    pb.OUTCOME_INVALID: "The request cannot be taken",
    pb.OUTCOME_AMOUNT_UNKNOWN: "The request does not say how much",
    pb.OUTCOME_UNKNOWN_KEY: "The organisation has no such key",
}
_REFUSALS = {
    Refusal.UNDECODABLE: "The request is malformed",
    Refusal.UNAUTHENTICATED: "A valid API key is needed",
    Refusal.TOO_LARGE: "The request is too large",
    Refusal.THROTTLED: "Too many requests",
    Refusal.UNAVAILABLE: "No decision",
}
_PROBLEM = "application/problem+json"


def http_app(desk: Desk, settings: Settings) -> Starlette:
    """The ASGI application."""
    loopback = is_loopback(settings.http_host)
    asked = {
        "reserve": (pb.ReserveRequest, desk.decisions.reserve),
        "settle": (pb.SettleRequest, desk.decisions.settle),
        "release": (pb.ReleaseRequest, desk.decisions.release),
        "extend": (pb.ExtendRequest, desk.decisions.extend),
        "balance": (pb.BalanceRequest, desk.decisions.balance),
    }
    routes = [
        *(
            Route(f"/v1/budgets/{name}", _call(desk, name, kind, ask, loopback, settings.most_bytes), methods=["POST"])
            for name, (kind, ask) in asked.items()
        ),
        Route("/v1/budgets/events", _events(desk, loopback), methods=["GET"]),
        Route("/healthz", healthy),
        Route("/readyz", readiness(desk.log.check)),
        Route("/metrics", metrics_page(desk.decisions.metrics.registry)),
    ]
    return Starlette(routes=routes)


def _call(
    desk: Desk, name: str, kind: type[Message], ask: Callable[..., Awaitable[pb.Reply]], loopback: bool, most_bytes: int
) -> Callable[[Request], Awaitable[Response]]:
    async def call(request: Request) -> Response:
        headers = request.headers
        try:
            grant = await desk.admit(headers.get("authorization"), headers.get("x-api-key"), loopback)
            message = _parsed(await _body(request, most_bytes), kind)
            return _reply(await ask(grant, message))
        except Refused as refused:
            desk.decisions.metrics.not_taken.labels(name.capitalize(), str(refused.refusal.http_status)).inc()
            return _refusal(refused)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody is there to read it

    return call


def _parsed(body: bytes, kind: type[Message]) -> Message:
    try:
        return json_format.Parse(body, kind())
    except (json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(Refusal.UNDECODABLE, f"the body is no {kind.DESCRIPTOR.name}: {error}") from error


async def _body(request: Request, most_bytes: int) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise Refused(Refusal.TOO_LARGE, f"the request is larger than {most_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _fields(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _reply(reply: pb.Reply) -> Response:
    status = _STATUS.get(reply.outcome, _CONFLICT)
    fields = _fields(reply)
    if status == 200:
        return Response(json.dumps(fields), media_type="application/json")
    name = pb.Outcome.Name(reply.outcome).removeprefix("OUTCOME_").lower()
    return _problem(name, _TITLES[reply.outcome], status, reply.message or _refused(reply), fields)


def _refused(reply: pb.Reply) -> str:
    """The budgets without room, in words."""
    return "; ".join(
        f"{one.name or one.budget_id}: limit {one.limit}, spent {one.spent}, pending {one.pending},"
        f" asked for {one.requested} {pb.Unit.Name(one.unit).removeprefix('UNIT_').lower()}"
        for one in reply.refusals
    )


def _problem(
    name: str, title: str, status: int, detail: str, more: dict[str, Any], headers: dict[str, str] | None = None
) -> Response:
    problem = {**more, "type": f"urn:spanmill:budget:{name}", "title": title, "status": status, "detail": detail}
    return Response(json.dumps(problem), status, headers, media_type=_PROBLEM)


def _refusal(refused: Refused) -> Response:
    headers = {"retry-after": str(refused.retry_after_s)} if refused.retry_after_s else {}
    if refused.refusal is Refusal.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"
    title = _REFUSALS[refused.refusal]
    name = refused.refusal.name.lower()
    return _problem(name, title, refused.refusal.http_status, refused.message, {}, headers)


def _events(desk: Desk, loopback: bool) -> Callable[[Request], Awaitable[Response]]:
    async def events(request: Request) -> Response:
        headers = request.headers
        after = headers.get("last-event-id") or request.query_params.get("after_event_id", "")
        try:
            grant = await desk.admit(headers.get("authorization"), headers.get("x-api-key"), loopback)
        except Refused as refused:
            return _refusal(refused)
        return StreamingResponse(_stream(desk, grant.org, after), media_type="text/event-stream")

    return events


async def _stream(desk: Desk, org: str, after: str) -> AsyncIterator[str]:
    """Server-sent events; a client that is cut off goes on after the last id that it has."""
    yield ": events follow\n\n"
    try:
        async for event in desk.feed.watch(org, after):
            yield f"id: {event.event_id}\nevent: {event.kind}\ndata: {json.dumps(_fields(event))}\n\n"
    except Refused as refused:
        yield f": {refused.message}\n\n"
