"""examples/openai_proxy.py for real: proxy, fake model and `spanmill up` as processes."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from integration_tests.budget_ground import Caller, new_org, set_limit, wait_limits
from integration_tests.product import WITH_BUDGETS, Product
from pipelines.ports import free_port

PROXY = Path(__file__).parents[1] / "examples" / "openai_proxy.py"
# gpt-4o: 2.50 dollars for a million tokens in, 10 out.
IN, OUT = 2_500, 10_000
LIMIT = 2_000_000


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Iterator[Product]:
    made = Product(tmp_path_factory.mktemp("proxy") / "data", *WITH_BUDGETS)
    made.up()
    yield made
    made.kill_all()


@pytest.fixture(scope="module")
def proxy(product) -> Iterator[str]:
    model, port = free_port(), free_port()
    options = (
        ["--fake-model", "--port", str(model)],
        ["--model", f"http://127.0.0.1:{model}", "--budgets", product.running.budget, "--port", str(port)],
    )
    started = [subprocess.Popen([sys.executable, str(PROXY), *args]) for args in options]
    for listening in (model, port):
        _wait_listening(listening)
    yield f"http://127.0.0.1:{port}/v1/chat/completions"
    for process in started:
        process.kill()
        process.wait()


def _wait_listening(port: int) -> None:
    deadline = time.monotonic() + 180
    while True:
        try:
            httpx2.get(f"http://127.0.0.1:{port}/", timeout=5)
            return
        except httpx2.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture(scope="module")
def key(product) -> str:
    made = new_org(product, "proxied")
    set_limit(product, "proxied", LIMIT)
    address = product.running.budget_grpc
    wait_limits(Caller([address], made), [address], made, LIMIT)
    return made


def ask(proxy: str, key: str, model: str = "gpt-4o", most: int = 50, stream: bool = True, **headers: str):
    body = {"model": model, "stream": stream, "max_tokens": most, "messages": [{"role": "user", "content": "a b c d"}]}
    headers = {"authorization": f"Bearer {key}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.post(proxy, json=body, headers=headers, timeout=60)


def balance(product: Product, key: str, spent: int) -> None:
    """Waits until so much is spent and nothing pending: the settlement comes after the end of the stream."""
    caller, deadline = Caller([product.running.budget_grpc], key), time.monotonic() + 30
    while (found := caller.balance()) != (spent, 0):
        assert time.monotonic() < deadline, f"{found}, not {spent} spent"
        time.sleep(0.1)


def test_a_stream_is_passed_on_and_settled_with_its_usage(product, proxy, key):
    answer = ask(proxy, key)
    assert answer.status_code == 200 and answer.text.endswith("data: [DONE]\n\n")
    assert answer.text.count('"content"') == 4
    balance(product, key, 4 * IN + 4 * OUT)


def test_a_whole_answer_is_settled_too_and_a_broken_model_costs_nothing(product, proxy, key):
    assert ask(proxy, key, stream=False).json()["choices"][0]["message"]["content"] == "a b c d"
    balance(product, key, 2 * (4 * IN + 4 * OUT))
    assert ask(proxy, key, model="broken").status_code == 422  # a model without a price is no bound
    balance(product, key, 2 * (4 * IN + 4 * OUT))


def test_a_call_without_room_is_refused_before_the_model_is_asked(product, proxy, key):
    refused = ask(proxy, key, most=1_000)
    assert refused.status_code == 402
    assert refused.json()["error"]["code"] == "refused"
    assert ask(proxy, "sm_wrong").status_code == 401
    balance(product, key, 2 * (4 * IN + 4 * OUT))
