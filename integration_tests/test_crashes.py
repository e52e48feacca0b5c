"""Kill anything at any moment: what was acknowledged is there, once, as in an undisturbed run."""

import random
import threading
import time

import httpx2
import pytest

from integration_tests.product import Product
from integration_tests.traffic import all_files, renamed

# Everything that an analyst reads; what depends on when a row was written is left out.
_TABLES = {
    "spans": "SELECT * EXCEPT (received_at) FROM spans ORDER BY trace_id, span_id",
    "messages": "SELECT * FROM messages ORDER BY org, hash",
    "usage": "SELECT * FROM usage ORDER BY entry_id",
    "traces": "SELECT * EXCEPT (fragment, state, version) FROM traces ORDER BY trace_id",
    "dead_letters": "SELECT org, step, error, position, hex(raw) AS bytes FROM dead_letters ORDER BY bytes, position",
}


def _requests(seed: int) -> list[bytes]:
    """All captures, a third of them twice, a broken one in between, in random order."""
    draw = random.Random(seed)
    bodies = [renamed(path.read_bytes(), "crash") for path in all_files()]
    bodies += draw.sample(bodies, len(bodies) // 3)
    draw.shuffle(bodies)
    return bodies


def _post_until_acknowledged(product: Product, bodies: list[bytes], done: threading.Event) -> None:
    """What a stock exporter does: repeats on any failure, so that in the end each body is acknowledged."""
    for body in bodies:
        while True:
            try:
                if product.post(body).status_code == 200:
                    break
            except (httpx2.HTTPError, OSError, ValueError, KeyError):
                pass
            except Exception as error:  # the run file is missing while everything is down
                assert "nothing runs" in str(error)
            time.sleep(0.1)
    done.set()


def _tables(product: Product) -> dict[str, list[dict]]:
    return {name: product.rows(sql) for name, sql in _TABLES.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    product = Product(tmp_path_factory.mktemp("undisturbed") / "data")
    product.up()
    try:
        _post_until_acknowledged(product, _requests(0), threading.Event())
        product.caught_up()
        yield _tables(product)
    finally:
        product.kill_all()


def _compare(product: Product, undisturbed: dict[str, list[dict]]) -> None:
    product.caught_up()
    for name, found in _tables(product).items():
        assert len(found) == len(undisturbed[name]), name
        for got, wanted in zip(found, undisturbed[name], strict=True):
            assert got == wanted, name
    for row in product.rows("SELECT * FROM completeness"):
        assert row["received"] == row["written"] + row["dead_lettered"]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("victim", ["gateway", "observe", "store", "broker"])
def test_a_killed_part_is_started_again_and_the_tables_equal_an_undisturbed_run(victim, new_product, undisturbed):
    seed = random.randrange(2**32)
    print("seed", seed)
    draw = random.Random(seed)
    product = new_product()
    product.up()
    done = threading.Event()
    sender = threading.Thread(target=_post_until_acknowledged, args=(product, _requests(seed), done), daemon=True)
    sender.start()
    for _ in range(2):
        time.sleep(draw.uniform(0.2, 3.0))
        product.kill(victim)
        _wait_restarted(product, victim)
    assert done.wait(120)
    _compare(product, undisturbed)


def _wait_restarted(product: Product, victim: str) -> None:
    before = product.running.pids[victim]
    deadline = time.monotonic() + 30
    while product.running.pids[victim] == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.timeout(400)
def test_after_a_loss_of_power_the_next_up_continues_and_the_tables_equal_an_undisturbed_run(new_product, undisturbed):
    seed = random.randrange(2**32)
    print("seed", seed)
    draw = random.Random(seed)
    product = new_product()
    product.up()
    done = threading.Event()
    sender = threading.Thread(target=_post_until_acknowledged, args=(product, _requests(seed), done), daemon=True)
    sender.start()
    for _ in range(2):
        time.sleep(draw.uniform(0.2, 3.0))
        product.kill_all()
        product.up()
    assert done.wait(120)
    _compare(product, undisturbed)
