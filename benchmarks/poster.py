"""Posts requests to a gateway from a process of its own, at full speed or at a rate; prints what it measured as JSON.

python -m benchmarks.poster GATEWAY REQUESTS SEED [RATE]
"""

import json
import secrets
import sys
import threading
import time
from http.client import HTTPConnection
from queue import Empty, Queue
from urllib.parse import urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.traffic import SPANS_PER_REQUEST, requests, template

_CONNECTIONS = 4
_HEADERS = {"content-type": "application/x-protobuf"}


def post_all(gateway: str, bodies: list[bytes], rate: float) -> tuple[list[float], float, float]:
    """Posts each body once, `rate` a second (0: as fast as it is answered).

    Returns the acknowledgement times in seconds, and the unix times of the first post and the last acknowledgement.
    """
    work: Queue[tuple[int, bytes]] = Queue()
    for item in enumerate(bodies):
        work.put(item)
    taken: list[float] = []
    began = time.time()
    threads = [threading.Thread(target=_post, args=(gateway, work, began, rate, taken)) for _ in range(_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken, began, time.time()


def _post(gateway: str, work: Queue[tuple[int, bytes]], began: float, rate: float, taken: list[float]) -> None:
    connection = HTTPConnection(urlsplit(gateway).netloc, timeout=60)
    while True:
        try:
            number, body = work.get_nowait()
        except Empty:
            return
        if rate:
            time.sleep(max(0.0, began + number / rate - time.time()))
        while True:
            asked = time.perf_counter()
            connection.request("POST", "/v1/traces", body, _HEADERS)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                taken.append(time.perf_counter() - asked)
                break
            time.sleep(float(answer.headers.get("retry-after", "1")))


def probe(gateway: str) -> str:
    """Posts one request and returns, after its acknowledgement, the id of its first trace."""
    seed = secrets.randbelow(2**31)
    [body] = requests([template(seed)], 1, time.time_ns(), seed)
    post_all(gateway, [body], 0)
    return ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans[0].trace_id.hex()


def main() -> None:
    gateway, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rate = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
    bodies = requests([template(seed + i) for i in range(8)], count, time.time_ns(), seed)
    taken, began, ended = post_all(gateway, bodies, rate)
    said = {
        "spans": count * SPANS_PER_REQUEST,
        "bytes": sum(map(len, bodies)),
        "began": began,
        "ended": ended,
        "taken": sorted(taken),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
