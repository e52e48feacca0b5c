import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.flink.jvm import start_jvm
from pipelines.jars import fetch, jar_folder


@pytest.fixture(scope="session")
def jvm(tmp_path_factory) -> Iterator[Any]:
    """The Java side of PyFlink in a process of the tests' own, with the connector on its class path."""
    with warnings.catch_warnings():
        # PyFlink imports Beam and swallows what goes wrong: a warning as an error would leave half a module behind.
        warnings.simplefilter("ignore")
        import apache_beam  # noqa: F401
        from pyflink.java_gateway import get_gateway

    process = start_jvm(fetch("flink", jar_folder(), print), tmp_path_factory.mktemp("jvm") / "flink.log", 512)
    try:
        gateway = get_gateway()
        yield gateway.jvm
        gateway.shutdown()
    finally:
        process.kill()
        process.wait()
