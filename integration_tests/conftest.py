import fcntl
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration_tests.product import Product
from integration_tests.tables import Tables, undisturbed_run


class SharedProduct:
    """One product for all tests of a process that do not disturb each other, from the first that asks for it until
    `stop`: one that idles takes a tenth of a core."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._running: Product | None = None

    def get(self) -> Product:
        if self._running is None:
            started = Product(self._data)
            started.up()
            self._running = started
        return self._running

    def stop(self) -> None:
        if self._running is not None:
            self._running.kill_all()
            self._running = None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that share the product go first."""
    sharing = {item.path for item in items if "shared_product" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path not in sharing)


@pytest.fixture(scope="session")
def _shared(tmp_path_factory) -> Iterator[SharedProduct]:
    shared = SharedProduct(tmp_path_factory.mktemp("product") / "data")
    yield shared
    shared.stop()


@pytest.fixture(scope="module", autouse=True)
def _no_idle_product(request, _shared) -> None:
    if not any("shared_product" in item.fixturenames for item in request.session.items if item.path == request.path):
        _shared.stop()


@pytest.fixture(scope="module")
def shared_product(_shared) -> Product:
    """Each test uses ids or organisations of its own."""
    return _shared.get()


@pytest.fixture(scope="module")
def product(shared_product) -> Product:
    return shared_product


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, worker_id) -> Tables:
    """What runs on either profile are held against: made by the process that needs it first, for all of them."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    kept = shared / "undisturbed.pickle"
    with (shared / "undisturbed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_bytes(pickle.dumps(undisturbed_run(tmp_path_factory.mktemp("undisturbed"))))
    return pickle.loads(kept.read_bytes())


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
