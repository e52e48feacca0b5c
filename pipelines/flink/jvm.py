"""The Java process of a local run, started by us rather than by PyFlink.

PyFlink would leave its standard error in a pipe that nobody reads, so that it stops for ever once 64 KiB were
written; and it would outlive a killed parent until its next look.
"""

import ctypes
import logging
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pyflink
from pyflink.pyflink_gateway_server import KEY_ENV_JAVA_OPTS, read_from_config

from pipelines.jars import java

_FLINK = Path(pyflink.__file__).parent
_LOGGING = Path(__file__).parent.parent.parent / "flink-conf" / "log4j.properties"
_PR_SET_PDEATHSIG = 1

END_S = 10.0


class JvmFailed(Exception):
    """The Java process ended or never answered."""


def start_jvm(jars: Sequence[Path], log: Path, heap_mb: int) -> subprocess.Popen[bytes]:
    """Starts Java with Flink and `jars` on its class path and tells PyFlink to use it; logs go to `log`.

    PyFlink must connect within 10 s. Raises JvmFailed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, log.with_suffix(".out").open("ab") as out:
        told = Path(scratch) / "port"
        process = subprocess.Popen(
            _command(jars, log, heap_mb),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "_PYFLINK_CONN_INFO_PATH": str(told), "PATH": _path()},
            preexec_fn=_die_with_parent,
        )
        os.environ["PYFLINK_GATEWAY_PORT"] = str(_port(process, told, log))
    # Python runs in the Java process: the client need not load Beam to serve workers that nobody starts.
    os.environ["_python_worker_execution_mode"] = "process"  # noqa: SIM112, PyFlink reads it so
    return process


def end_jvm(process: subprocess.Popen[bytes]) -> None:
    """Stops the Java process; after this PyFlink is of no use to this process any more."""
    # From here on py4j would log an error for each Java object that Python still holds.
    logging.disable(logging.ERROR)
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _command(jars: Sequence[Path], log: Path, heap_mb: int) -> list[str]:
    classpath = [*sorted((_FLINK / "lib").glob("*.jar")), *(_FLINK / "opt").glob("flink-python*.jar"), *jars]
    opens = read_from_config(KEY_ENV_JAVA_OPTS, "", str(_FLINK / "conf")).split()
    return [
        str(java()),
        *(f"-Xms{heap_mb // 4}m", f"-Xmx{heap_mb}m", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError"),
        *("-XX:+IgnoreUnrecognizedVMOptions", "--add-opens=jdk.proxy2/jdk.proxy2=ALL-UNNAMED", *opens),
        *(f"-Dlog.file={log}", f"-Dlog4j.configurationFile={_LOGGING}"),
        *("-cp", os.pathsep.join(map(str, classpath))),
        "org.apache.flink.client.python.PythonGatewayServer",
    ]


def _path() -> str:
    """Python in the Java process takes its library from the first `python3` on PATH: it must be this one."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def _die_with_parent() -> None:
    """Runs in the child between fork and exec: the kernel kills it when this process dies, however that happens.

    An interrupt from the terminal is for the parent alone, which stops the job in order.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _port(process: subprocess.Popen[bytes], told: Path, log: Path, timeout_s: float = 60) -> int:
    deadline = time.monotonic() + timeout_s
    while not told.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise JvmFailed(f"Java did not start; see {log.with_suffix('.out')}")
        time.sleep(0.02)
    return struct.unpack("!I", told.read_bytes()[:4])[0]
