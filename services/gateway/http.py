"""OTLP over HTTP: /v1/traces, /v1/logs, /v1/metrics; and the health and metrics pages."""

import time
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from services.gateway.inflate import encoding_named
from services.gateway.inflight import Hold
from services.gateway.intake import Intake, Payload
from services.gateway.settings import Settings
from services.gateway.signals import SIGNALS, Signal
from services.shared.addresses import is_loopback
from services.shared.answers import Form, Refusal, Refused, encode, status_of
from services.shared.pages import healthy, metrics_page, readiness


def http_app(intake: Intake, settings: Settings) -> Starlette:
    """The ASGI application of the gateway."""
    loopback = is_loopback(settings.http_host)
    routes = [
        *(Route(f"/v1/{signal.name}", _export(intake, signal, loopback), methods=["POST"]) for signal in SIGNALS),
        Route("/healthz", healthy),
        Route("/readyz", readiness(intake.disk.check, intake.log.check)),
        Route("/metrics", metrics_page(intake.metrics.registry)),
    ]
    middleware = [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["POST"],
            allow_headers=["content-type", "content-encoding", "authorization", "x-api-key"],
        )
    ]
    return Starlette(routes=routes, middleware=middleware if settings.cors_origins else [])


def _export(intake: Intake, signal: Signal, loopback: bool) -> Callable[[Request], Awaitable[Response]]:
    async def export(request: Request) -> Response:
        started = time.perf_counter()
        form = _form(request)
        try:
            with intake.inflight.hold() as hold:
                response = await _answer(request, form, signal, intake, loopback, hold)
            intake.metrics.acknowledged.labels("http").observe(time.perf_counter() - started)
        except Refused as refused:
            response = _refusal(refused, form or Form.JSON)
        except ClientDisconnect:
            response = Response(status_code=400)  # nobody is there to read it
        intake.metrics.requests.labels("http", signal.name, str(response.status_code)).inc()
        return response

    return export


async def _answer(
    request: Request, form: Form | None, signal: Signal, intake: Intake, loopback: bool, hold: Hold
) -> Response:
    headers = request.headers
    grant = await intake.admit(headers.get("authorization"), headers.get("x-api-key"), loopback)
    if form is None:
        spoken = " or ".join(known.value for known in Form)
        raise Refused(Refusal.UNSUPPORTED, f"the content type must be {spoken}")
    encoding = encoding_named(headers.get("content-encoding", ""))
    wire = await _body(request, intake.limits.body_bytes, hold)
    accepted = await intake.take(Payload(signal, form, encoding, wire), grant, hold)
    answer = signal.answer(accepted.rejected, accepted.message)
    return Response(encode(answer, form), media_type=form.value)


def _form(request: Request) -> Form | None:
    """The form that the content type names; its parameters do not matter."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return next((form for form in Form if form.value == media_type), None)


async def _body(request: Request, most_bytes: int, hold: Hold) -> bytes:
    """The whole body, held chunk by chunk. Raises Refused (413) once it is, or says it is, too large."""
    too_large = Refused(Refusal.TOO_LARGE, f"the request is larger than {most_bytes} bytes")
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > most_bytes:
        raise too_large
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise too_large
        hold.grow(len(part))
        parts.append(part)
    return b"".join(parts)


def _refusal(refused: Refused, form: Form) -> Response:
    headers = {"retry-after": str(refused.retry_after_s)} if refused.retry_after_s else {}
    if refused.refusal is Refusal.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"
    return Response(encode(status_of(refused), form), refused.refusal.http_status, headers, media_type=form.value)
