"""OTLP requests in files, and posting them to a gateway."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from cli.exits import Exit, Failure

SUFFIXES = (".binpb", ".pb", ".json")


@dataclass(frozen=True)
class Request:
    """One export as a file holds it."""

    source: Path
    signal: str  # traces | logs
    json: bool
    body: bytes


@dataclass(frozen=True)
class Answer:
    rejected: int
    message: str


def read(paths: Iterable[Path]) -> Iterator[Request]:
    """The requests in files and folders, in the order of their names; '.logs.' in a name says that it holds logs.

    Raises Failure for a path that is not there.
    """
    for path in paths:
        if path.is_dir():
            yield from read(sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES))
        elif path.is_file():
            signal = "logs" if ".logs." in path.name else "traces"
            yield Request(path, signal, path.suffix == ".json", path.read_bytes())
        else:
            raise Failure(f"there is no file {path}", "spanmill send --help", Exit.USAGE)


def post(client: httpx2.Client, gateway: str, request: Request, key: str, patience_s: float = 60) -> Answer:
    """Posts one request and returns what the gateway rejected of it; waits and repeats while it says 'try later'.

    Raises Failure when the gateway refuses the request, or is not there within `patience_s`.
    """
    headers = {"content-type": "application/json" if request.json else "application/x-protobuf"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    deadline = time.monotonic() + patience_s
    while True:
        try:
            answer = client.post(f"{gateway}/v1/{request.signal}", content=request.body, headers=headers)
        except httpx2.ConnectError as error:
            raise Failure(
                f"no gateway answers at {gateway}",
                "spanmill up, or name another with --gateway",
                Exit.CANNOT_CONNECT,
            ) from error
        if answer.status_code == 200:
            return _verdict(request, answer)
        if answer.status_code not in (429, 502, 503, 504):
            raise Failure(f"{request.source}: the gateway answered {answer.status_code}: {_reason(answer)}")
        pause = float(answer.headers.get("retry-after", "1"))
        if time.monotonic() + pause > deadline:
            raise Failure(f"the gateway is overloaded: {_reason(answer)}", "try again later", Exit.TIMED_OUT)
        time.sleep(pause)


def _verdict(request: Request, answer: httpx2.Response) -> Answer:
    if request.json:
        partial = answer.json().get("partialSuccess") or {}
        rejected = partial.get("rejectedSpans") or partial.get("rejectedLogRecords") or 0
        return Answer(int(rejected), partial.get("errorMessage", ""))
    if request.signal == "logs":
        said = ExportLogsServiceResponse.FromString(answer.content).partial_success
        return Answer(said.rejected_log_records, said.error_message)
    said = ExportTraceServiceResponse.FromString(answer.content).partial_success
    return Answer(said.rejected_spans, said.error_message)


def _reason(answer: httpx2.Response) -> str:
    if "json" in answer.headers.get("content-type", ""):
        return str(answer.json().get("message", ""))

    return Status.FromString(answer.content).message
