"""The real cluster as a test sees it: `spanmill cluster up` in a process of its own, and the command against it."""

import json
import os
import signal
import subprocess
from typing import Any

from cli.jobs.flink_rest import FlinkRest
from integration_tests.product import SPANMILL, Product, spanmill


class LocalCluster(Product):
    """`spanmill cluster up` on free ports over one data folder."""

    verb = ("cluster", "up")
    port_options = (
        "--http-port", "0", "--grpc-port", "0", "--sql-port", "0", "--flink-port", "0",
        "--budget-grpc-port", "0", "--budget-http-port", "0", "--task-managers", "2",
    )  # fmt: skip

    def job(self, *arguments: str, ok: bool = True, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        """Runs `spanmill job ...` on it; checks the exit code where `ok`."""
        done = spanmill("job", *arguments, "--data", str(self.data), timeout=timeout)
        assert not ok or done.returncode == 0, done.stdout + done.stderr
        return done

    def job_json(self, *arguments: str) -> list[dict[str, Any]]:
        return json.loads(self.job(*arguments, "-o", "json").stdout)

    def deploy(self, *options: str) -> dict[str, Any]:
        """Deploys observe, with traces that show after a second of quiet."""
        return self.job_json("deploy", "observe", "--set", "quiet_gap_s=1", *options)[0]

    @property
    def rest(self) -> FlinkRest:
        return FlinkRest(self.running.flink)

    def pause(self, name: str) -> None:
        os.killpg(self.running.pids[name], signal.SIGSTOP)

    def resume(self, name: str) -> None:
        os.killpg(self.running.pids[name], signal.SIGCONT)


def start_command(*arguments: str) -> subprocess.Popen[str]:
    """The command in the background."""
    return subprocess.Popen([*SPANMILL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
