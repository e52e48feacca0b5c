"""What the commands ask of a Kubernetes cluster, through the kubectl of the user."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Any

from cli.exits import Exit, Failure

Object = dict[str, Any]

_PROGRAM = "kubectl"
_POLL_S = 1.0
# What kubectl says when it came to no server, or to one that does not know who asks.
_NO_SERVER = (
    "unable to connect to the server", "the connection to the server", "must be logged in", "unauthorized",
    "dial tcp", "no such host", "i/o timeout", "tls handshake timeout", "context deadline exceeded",
    "timed out waiting for the server", "no configuration has been provided", "error: context \"",
)  # fmt: skip


class Kubectl:
    """A namespace of a cluster. Each method raises Failure when kubectl is missing, or is not answered, or refused."""

    def __init__(self, namespace: str, context: str = "") -> None:
        self.namespace = namespace
        self._context = context

    def get(self, kind: str, name: str) -> Object | None:
        """The object, None when there is none."""
        text = self._run("get", kind, name, "--ignore-not-found", "--output=json")
        return json.loads(text) if text.strip() else None

    def apply(self, objects: Sequence[Object]) -> None:
        """Makes the objects, or changes them to be so, in this order."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self._run("apply", "--filename=-", given=json.dumps(listed))

    def patch(self, kind: str, name: str, change: Object) -> None:
        """Lays `change` over the object."""
        self._run("patch", kind, name, "--type=merge", f"--patch={json.dumps(change)}")

    def delete(self, kind: str, name: str) -> None:
        """Asks for the object's end; one that is gone already stays so."""
        self._run("delete", kind, name, "--ignore-not-found", "--wait=false")

    def logs(self, selector: str, lines: int, follow: bool) -> Iterator[str]:
        """The last lines of each pod, each line begun with the pod's name; with `follow` what comes, too."""
        command = self._command("logs", f"--selector={selector}", f"--tail={lines}", "--prefix",
                                "--max-log-requests=64", *(["--follow"] if follow else []))  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stderr is not None
            try:
                yield from process.stdout
                if process.wait():
                    raise _failure(process.stderr.read())
            finally:
                process.kill()

    def _run(self, *arguments: str, given: str | None = None) -> str:
        command = self._command(*arguments, "--request-timeout=30s")
        done = subprocess.run(command, input=given, capture_output=True, text=True)
        if done.returncode:
            raise _failure(done.stderr)
        return done.stdout

    def _command(self, *arguments: str) -> list[str]:
        program = shutil.which(_PROGRAM)
        if program is None:
            what = "kubectl is not on PATH: --target kubernetes speaks to the cluster through it"
            raise Failure(what, "install kubectl and see that `kubectl get pods` answers", Exit.CANNOT_CONNECT)
        context = [f"--context={self._context}"] if self._context else []
        return [program, *context, f"--namespace={self.namespace}", *arguments]


def _failure(said: str) -> Failure:
    said = said.strip() or "kubectl gave no reason"
    low = said.lower()
    if "doesn't have a resource type" in low or "no matches for kind" in low:
        return Failure(said, "install the Flink Kubernetes Operator: see docs/deploy.md", Exit.REFUSED)
    if any(sign in low for sign in _NO_SERVER):
        return Failure(f"kubectl cannot connect: {said}", "kubectl cluster-info", Exit.CANNOT_CONNECT)
    return Failure(f"Kubernetes refused: {said}")


class Waiting:
    """Asks again and again until a deadline. reason: what is missing, to be said when time is up."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def pause(self, missing: str) -> None:
        """Raises Failure (timed out) when time is up."""
        if time.monotonic() > self._deadline:
            raise Failure(f"not well within {self._seconds:.0f} s: {missing}", code=Exit.TIMED_OUT)
        time.sleep(_POLL_S)
