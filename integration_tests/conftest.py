from collections.abc import Callable, Iterator

import pytest

from integration_tests.product import Product
from integration_tests.tables import Tables, undisturbed_run


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Iterator[Product]:
    """One product for the tests of a file that do not disturb each other: each uses ids or organisations of its own.

    One that idles through the rest of a session takes a tenth of a core with each of its two Flink processes.
    """
    running = Product(tmp_path_factory.mktemp("product") / "data")
    running.up()
    yield running
    running.kill_all()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Tables:
    """What runs on either profile are held against."""
    return undisturbed_run(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def new_product(tmp_path) -> Iterator[Callable[..., Product]]:
    """Makes products of the test's own, for tests that kill."""
    made: list[Product] = []

    def make(*options: str) -> Product:
        made.append(Product(tmp_path / f"data-{len(made)}", *options))
        return made[-1]

    yield make
    for each in made:
        each.kill_all()
