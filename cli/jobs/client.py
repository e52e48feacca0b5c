"""Talks to a job's client process (pipelines/flink/client.py), which runs the job's own code."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli.exits import Failure

_REPLY = "reply "


class JobClient:
    """Asks a client process, a request at a time."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def ask(self, op: str, **request: Any) -> dict[str, Any]:
        """The answer to a request. Raises Failure with the reason when there is none."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"op": op, **request}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failure(self._ended()) from None
        for line in self._process.stdout:
            if line.startswith(_REPLY):
                answer = json.loads(line.removeprefix(_REPLY))
                if "error" in answer:
                    raise Failure(answer["error"])
                return answer
        raise Failure(self._ended())

    def _ended(self) -> str:
        return "the job's client ended: " + self._log.read_text(errors="replace")[-2_000:].strip()


@contextmanager
def job_client(entry: str, settings: Mapping[str, Any], code: Path) -> Iterator[JobClient]:
    """A client of the job whose module is `entry`, in the code folder `code`; ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="spanmill-job-") as scratch:
        file, log = Path(scratch) / "settings.json", Path(scratch) / "client.log"
        file.touch(0o600)
        file.write_text(json.dumps(dict(settings)))
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", entry, "--client", "--settings", str(file)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out, text=True, cwd=code,
            )  # fmt: skip
        try:
            yield JobClient(process, log)
        finally:
            if process.stdin:
                process.stdin.close()
            process.wait()
            if process.stdout:
                process.stdout.close()
