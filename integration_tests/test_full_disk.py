"""A full disk refuses new work, loses nothing, and lets work go on when there is room again."""

import subprocess
import time
from pathlib import Path

import pytest

from integration_tests.product import Product
from integration_tests.traffic import all_files, renamed, span_count


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 700 MB for the data folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_refuses_with_503_and_all_that_was_acknowledged_is_there_afterwards(small_disk):
    product = Product(small_disk / "data")
    product.log = small_disk.parent / "up.log"
    try:
        product.up()
        bodies = [path.read_bytes() for path in all_files()]
        before = [renamed(body, "before") for body in bodies]
        assert all(product.post(body).status_code == 200 for body in before)
        product.caught_up()
        filler = small_disk / "filler"
        _fill(filler)
        refused = _until_status(product, renamed(bodies[0], "full"), 503)
        assert "retry-after" in refused.headers
        filler.unlink()
        _until_status(product, renamed(bodies[0], "full"), 200)
        product.caught_up()
        expected = sum(map(span_count, before)) + span_count(bodies[0])
        assert product.rows("SELECT count() AS n FROM spans")[0]["n"] == expected
    finally:
        product.kill_all()


def _fill(filler: Path) -> None:
    """Writes until there is no room left."""
    with filler.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(b"\0" * 2**20)
        except OSError:
            pass


def _until_status(product: Product, body: bytes, status: int):
    deadline = time.monotonic() + 180
    while True:
        answer = product.post(body)
        if answer.status_code == status:
            return answer
        assert time.monotonic() < deadline, answer.status_code
        time.sleep(0.2)
