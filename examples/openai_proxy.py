"""A small pass-through in front of an OpenAI-compatible model: each call is reserved, streamed, settled.

    python examples/openai_proxy.py --fake-model                    # a model that needs no account, port 9000
    python examples/openai_proxy.py --model http://127.0.0.1:9000   # the proxy, port 8000
    curl -N http://127.0.0.1:8000/v1/chat/completions -H 'content-type: application/json' \\
         -d '{"model": "gpt-4o", "stream": true, "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}'

Callers authenticate with their spanmill key (Authorization: Bearer sm_...), which the budget service checks; the model
gets the key of OPENAI_API_KEY. A caller that may ask again sends an `x-request-id` of its own: it is reserved once.
"""

import argparse
import asyncio
import json
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

_MOST_OUTPUT_TOKENS = 4_096  # of a request that sets no limit; the model is told
_HOLD_S = 120  # a reservation lasts so long, and is extended while the answer comes
_TIMEOUT = httpx2.Timeout(5, read=300)


@dataclass
class Hold:
    """A reservation at the budget service. key: the caller's Authorization header, or None."""

    http: httpx2.AsyncClient
    budgets: str
    key: str | None
    request_id: str

    async def post(self, verb: str, **fields: Any) -> httpx2.Response:
        headers = {"authorization": self.key} if self.key else {}
        body = {"request_id": self.request_id, **fields}
        return await self.http.post(f"{self.budgets}/v1/budgets/{verb}", json=body, headers=headers)

    async def end(self, verb: str, **fields: Any) -> None:
        """Settles or releases; again until the service has answered, which is safe: the request id is the same."""
        while True:
            with suppress(httpx2.TransportError):
                if (await self.post(verb, **fields)).status_code != 503:
                    return
            await asyncio.sleep(1)


def proxy(model: str, budgets: str, api_key: str) -> FastAPI:
    """model, budgets: URLs. api_key: of the model."""
    app = FastAPI()
    http = httpx2.AsyncClient(timeout=_TIMEOUT)

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        raw = await request.body()
        body = json.loads(raw)
        most = body.get("max_completion_tokens") or body.setdefault("max_tokens", _MOST_OUTPUT_TOKENS)
        name = request.headers.get("x-request-id") or str(uuid.uuid4())
        hold = Hold(http, budgets, request.headers.get("authorization"), name)
        priced = {"provider": "openai", "model": body.get("model", "")}
        # A token is a byte at least, so the body's length is a bound that needs no tokenizer.
        asked = {"max_input_tokens": len(raw), "max_output_tokens": most, "ttl_s": _HOLD_S, "policy": "POLICY_CLOSED"}
        reserved = await hold.post("reserve", **priced, **asked)
        if reserved.status_code != 200:
            return _error(reserved)
        if body.get("stream"):
            body["stream_options"] = {**body.get("stream_options", {}), "include_usage": True}
        headers = {"x-request-id": name} | ({"authorization": f"Bearer {api_key}"} if api_key else {})
        upstream = http.build_request("POST", f"{model}/v1/chat/completions", json=body, headers=headers)
        try:
            answer = await http.send(upstream, stream=True)
        except httpx2.TransportError as error:
            await hold.end("release")
            return JSONResponse({"error": {"message": f"the model does not answer: {error}"}}, 502)
        if answer.status_code != 200:
            await hold.end("release")  # a refused call costs nothing
            return Response(await answer.aread(), answer.status_code, media_type="application/json")
        return StreamingResponse(
            _relay(answer, hold, priced), headers={"content-type": answer.headers.get("content-type", "")}
        )

    return app


async def _relay(answer: httpx2.Response, hold: Hold, priced: dict[str, str]) -> AsyncIterator[bytes]:
    """Passes the answer on as it comes, and settles with what it says of its usage, however it ends."""
    said: dict[str, Any] = {}
    kept = b""
    extending = asyncio.create_task(_extend(hold))
    try:
        async for part in answer.aiter_bytes():
            yield part
            kept += part
            *lines, kept = kept.split(b"\n")
            for line in lines:
                said |= _usage(line)
        said |= _usage(kept)
    finally:
        extending.cancel()
        await asyncio.shield(_settle(answer, hold, priced, said))


async def _settle(answer: httpx2.Response, hold: Hold, priced: dict[str, str], said: dict[str, Any]) -> None:
    await answer.aclose()
    usage = said.get("usage")
    # An answer that broke off tells no usage: what was reserved counts.
    spent = {"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]} if usage else {}
    await hold.end("settle", **priced, **spent, response_id=said.get("id", ""))


async def _extend(hold: Hold) -> None:
    while True:
        await asyncio.sleep(_HOLD_S / 2)
        with suppress(httpx2.TransportError):
            await hold.post("extend", ttl_s=_HOLD_S)


def _usage(line: bytes) -> dict[str, Any]:
    """The id and the usage that a line of the answer has, a whole JSON body or one event of a stream."""
    text = line.removeprefix(b"data:").strip()
    if not text.startswith(b"{"):
        return {}
    with suppress(ValueError):
        return {name: value for name, value in json.loads(text).items() if name in ("id", "usage") and value}
    return {}


def _error(refused: httpx2.Response) -> Response:
    """A problem of the budget service, as clients of OpenAI expect an error."""
    problem = refused.json()
    code = problem["type"].rpartition(":")[2]
    error = {"message": problem["detail"], "type": "insufficient_quota" if code == "refused" else code, "code": code}
    retry = {"retry-after": refused.headers["retry-after"]} if "retry-after" in refused.headers else {}
    return JSONResponse({"error": error}, refused.status_code, retry)


def fake_model() -> FastAPI:
    """Answers like OpenAI, word by word: as many tokens as there are words, at most `max_tokens`."""
    app = FastAPI()

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        body = await request.json()
        words = [word for message in body["messages"] for word in message["content"].split()]
        told = words[: body.get("max_completion_tokens") or body.get("max_tokens")]
        usage = {"prompt_tokens": len(words), "completion_tokens": len(told), "total_tokens": len(words) + len(told)}
        name = f"chatcmpl-{uuid.uuid4().hex}"
        if body["model"] == "broken":
            return JSONResponse({"error": {"message": "broken"}}, 500)
        if not body.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": " ".join(told)}, "finish_reason": "stop"}
            return JSONResponse({"id": name, "model": body["model"], "choices": [choice], "usage": usage})

        async def chunks() -> AsyncIterator[str]:
            for word in told:
                delta = [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}]
                yield f"data: {json.dumps({'id': name, 'choices': delta, 'usage': None})}\n\n"
                await asyncio.sleep(0.01)
            if body.get("stream_options", {}).get("include_usage"):
                yield f"data: {json.dumps({'id': name, 'choices': [], 'usage': usage})}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(chunks(), media_type="text/event-stream")

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fake-model", action="store_true", help="be the model instead")
    parser.add_argument("--model", default="https://api.openai.com", metavar="URL")
    parser.add_argument("--budgets", default="http://127.0.0.1:4320", metavar="URL", help="the budget service")
    parser.add_argument("--port", type=int, default=None)
    asked = parser.parse_args()
    made = fake_model() if asked.fake_model else proxy(asked.model, asked.budgets, os.environ.get("OPENAI_API_KEY", ""))
    uvicorn.run(made, host="127.0.0.1", port=asked.port or (9000 if asked.fake_model else 8000), log_level="warning")
