"""Kill anything at any moment: what was acknowledged is there, once, as in an undisturbed run."""

import random
import threading
import time

from integration_tests.product import Product
from integration_tests.tables import compare, post_until_acknowledged, requests

_PARTS = ("gateway", "observe", "store", "broker")


def test_each_part_that_is_killed_is_started_again_and_the_tables_equal_an_undisturbed_run(new_product, undisturbed):
    """Each once in drawn order, and one of them right after it began again."""
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    order = draw.sample(_PARTS, len(_PARTS))
    order.append(order[-1])
    print(f"seed {seed}: {', '.join(order)}")
    product = new_product()
    product.up()
    done = threading.Event()
    sending = (product, requests(seed), done, 0.1)
    sender = threading.Thread(target=post_until_acknowledged, args=sending, daemon=True)
    sender.start()
    for victim in order:
        time.sleep(draw.uniform(0.2, 3.0))
        product.kill(victim)
        _wait_restarted(product, victim)
    assert done.wait(240)
    compare(product, undisturbed)


def _wait_restarted(product: Product, victim: str) -> None:
    before = product.running.pids[victim]
    deadline = time.monotonic() + 180
    while product.running.pids[victim] == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_after_a_loss_of_power_the_next_up_continues_and_the_tables_equal_an_undisturbed_run(new_product, undisturbed):
    seed = random.randrange(2**32)
    print("seed", seed)
    draw = random.Random(seed)
    product = new_product()
    product.up()
    done = threading.Event()
    sender = threading.Thread(target=post_until_acknowledged, args=(product, requests(seed), done), daemon=True)
    sender.start()
    for _ in range(2):
        time.sleep(draw.uniform(0.2, 3.0))
        product.kill_all()
        product.up()
    assert done.wait(240)
    compare(product, undisturbed)
