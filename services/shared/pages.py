"""The pages that every service with HTTP has: health, readiness, metrics."""

from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from services.shared.addresses import is_loopback
from services.shared.answers import Refused

Page = Callable[[Request], Awaitable[Response]]


async def healthy(_request: Request) -> Response:
    return PlainTextResponse("ok\n")


def readiness(*checks: Callable[[], None]) -> Page:
    """200 when none of `checks` raises Refused, else 503 with the reason."""

    async def ready(_request: Request) -> Response:
        try:
            for check in checks:
                check()
        except Refused as refused:
            return PlainTextResponse(f"{refused.message}\n", 503)
        return PlainTextResponse("ready\n")

    return ready


def metrics_page(registry: CollectorRegistry) -> Page:
    async def metrics(request: Request) -> Response:
        # The page names organisations: for the operator's scraper on this machine, not for tenants.
        if request.client is None or not is_loopback(request.client.host):
            return PlainTextResponse("the metrics are served to this machine only\n", 403)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return metrics
