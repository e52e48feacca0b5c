"""What a disturbed run is held against: every table that an analyst reads, and the requests that fill them."""

import random
import threading
import time
from pathlib import Path

import httpx2

from integration_tests.product import Product
from integration_tests.traffic import all_files, renamed

Tables = dict[str, list[dict]]

# What depends on when a row was written is left out.
_TABLES = {
    "spans": "SELECT * EXCEPT (received_at) FROM spans ORDER BY trace_id, span_id",
    "messages": "SELECT * FROM messages ORDER BY org, hash",
    "usage": "SELECT * FROM usage ORDER BY entry_id",
    "traces": "SELECT * EXCEPT (fragment, state, version) FROM traces ORDER BY trace_id",
    "dead_letters": "SELECT org, step, error, position, hex(raw) AS bytes FROM dead_letters ORDER BY bytes, position",
}


def requests(seed: int) -> list[bytes]:
    """All captures, a third of them twice, in random order."""
    draw = random.Random(seed)
    bodies = [renamed(path.read_bytes(), "crash") for path in all_files()]
    bodies += draw.sample(bodies, len(bodies) // 3)
    draw.shuffle(bodies)
    return bodies


def post_until_acknowledged(product: Product, bodies: list[bytes], done: threading.Event, pause: float = 0.0) -> None:
    """What a stock exporter does: repeats on any failure, so that in the end each body is acknowledged.

    pause: seconds between two requests.
    """
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
        time.sleep(pause)
    done.set()


def undisturbed_run(folder: Path) -> Tables:
    """The tables of an embedded run that nothing disturbed; runs on either profile are held against them."""
    product = Product(folder / "data")
    product.up()
    try:
        post_until_acknowledged(product, requests(0), threading.Event())
        product.caught_up()
        return tables(product)
    finally:
        product.kill_all()


def tables(product: Product) -> Tables:
    return {name: product.rows(sql) for name, sql in _TABLES.items()}


def compare(product: Product, undisturbed: Tables, timeout: float = 240) -> None:
    """Raises AssertionError unless the tables equal those of an undisturbed run and every span is accounted for."""
    product.caught_up(timeout)
    for name, found in tables(product).items():
        assert len(found) == len(undisturbed[name]), f"{name}: {len(found)} rows, not {len(undisturbed[name])}"
        for got, wanted in zip(found, undisturbed[name], strict=True):
            assert got == wanted, f"{name}: {_difference(got, wanted)}"
    for row in product.rows("SELECT * FROM completeness"):
        assert row["received"] == row["written"] + row["dead_lettered"]


def _difference(got: dict, wanted: dict) -> str:
    """The row's identity and each column that differs."""
    ids = {column: value for column, value in wanted.items() if column.endswith("_id")}
    return f"{ids}: " + "; ".join(
        f"{name} {got[name]!r}, not {wanted[name]!r}" for name in wanted if got[name] != wanted[name]
    )
