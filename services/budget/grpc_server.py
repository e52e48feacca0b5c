"""The service `Budgets` over gRPC (schemas/budget.proto)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from schemas import budget_pb2 as pb
from schemas import budget_pb2_grpc
from services.budget.desk import Desk
from services.budget.settings import Settings
from services.control.keys import Grant
from services.shared.addresses import CannotListen, is_loopback, netloc
from services.shared.answers import Refused, status_of

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_MARGIN_S = 0.01  # before the caller's deadline, so that the answer still arrives


def grpc_server(desk: Desk, settings: Settings) -> tuple[grpc.aio.Server, int]:
    """A server that is bound but not started, and its port. Raises CannotListen."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", settings.most_bytes),
            ("grpc.so_reuseport", 0),
            ("grpc.max_concurrent_streams", 1_000),
            ("grpc.server_handshake_timeout_ms", round(settings.header_timeout_s * 1000)),
        ]
    )
    budget_pb2_grpc.add_BudgetsServicer_to_server(_Budgets(desk, is_loopback(settings.grpc_host)), server)
    address = netloc(settings.grpc_host, settings.grpc_port)
    try:
        return server, server.add_insecure_port(address)
    except RuntimeError as error:
        raise CannotListen(f"cannot listen on {address}: {error}") from error


class _Budgets(budget_pb2_grpc.BudgetsServicer):
    def __init__(self, desk: Desk, loopback: bool) -> None:
        self._desk = desk
        self._loopback = loopback

    async def Reserve(self, request: pb.ReserveRequest, context: Any) -> pb.Reply:
        return await self._answer("Reserve", self._desk.decisions.reserve, request, context)

    async def Settle(self, request: pb.SettleRequest, context: Any) -> pb.Reply:
        return await self._answer("Settle", self._desk.decisions.settle, request, context)

    async def Release(self, request: pb.ReleaseRequest, context: Any) -> pb.Reply:
        return await self._answer("Release", self._desk.decisions.release, request, context)

    async def Extend(self, request: pb.ExtendRequest, context: Any) -> pb.Reply:
        return await self._answer("Extend", self._desk.decisions.extend, request, context)

    async def Balance(self, request: pb.BalanceRequest, context: Any) -> pb.Reply:
        return await self._answer("Balance", self._desk.decisions.balance, request, context)

    async def WatchEvents(self, request: pb.WatchEventsRequest, context: Any) -> AsyncIterator[pb.BudgetEvent]:
        try:
            grant = await self._grant(context)
            await context.send_initial_metadata(())  # from here on nothing is missed
            async for event in self._desk.feed.watch(grant.org, request.after_event_id):
                yield event
        except Refused as refused:
            await self._refuse("WatchEvents", refused, context)

    async def _answer(self, method: str, ask: Callable[..., Awaitable[pb.Reply]], request: Any, context: Any) -> Any:
        left = context.time_remaining()
        try:
            grant = await self._grant(context)
            return await ask(grant, request, None if left is None else max(0.0, left - _MARGIN_S))
        except Refused as refused:
            return await self._refuse(method, refused, context)

    async def _grant(self, context: Any) -> Grant:
        metadata = dict(context.invocation_metadata())
        return await self._desk.admit(metadata.get("authorization"), metadata.get("x-api-key"), self._loopback)

    async def _refuse(self, method: str, refused: Refused, context: Any) -> None:
        self._desk.decisions.metrics.not_taken.labels(method, str(refused.refusal.http_status)).inc()
        details = (("grpc-status-details-bin", status_of(refused).SerializeToString()),)
        await context.abort(_CODES[refused.refusal.grpc_code], refused.message, details)
