"""What the two profiles of this machine, embedded and cluster, were asked for, and where a running one listens."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cli.contexts import chosen, place, read_contexts
from cli.exits import Exit, Failure
from pipelines.store import StoreSettings
from schemas.topics import SPANS

TOPIC = SPANS.name
DATABASE = "spanmill"
DEFAULT_DATA = Path(".spanmill")


def sqlite_url(data: Path) -> str:
    """The control database of an embedded data folder."""
    return f"sqlite:///{data / 'control.db'}"


@dataclass(frozen=True)
class Profile:
    """What `spanmill up` was asked for. A port of 0 means any free one."""

    data: Path
    host: str = "127.0.0.1"
    http_port: int = 4318
    grpc_port: int = 4317
    sql_port: int = 8123
    quiet_gap_s: float = 5.0
    horizon_s: float = 600.0
    budget_grpc_port: int = 4319
    budget_http_port: int = 4320
    budgets: bool = True  # whether their job and service run too

    @property
    def logs(self) -> Path:
        return self.data / "logs"


@dataclass(frozen=True)
class ClusterProfile(Profile):
    """What `spanmill cluster up` was asked for."""

    flink_port: int = 8081
    task_managers: int = 2
    state_backend: str = "hashmap"


@dataclass(frozen=True)
class Running:
    """What a running profile wrote down for the other commands: `run.json` in the data folder."""

    pid: int
    gateway: str  # http://host:port
    grpc: str  # host:port
    store: str  # http://host:port
    broker: str  # host:port
    topic: str
    control: str  # SQLAlchemy URL
    pids: dict[str, int]
    budget: str = ""  # of the budget service, http://host:port; '' when there is none
    budget_grpc: str = ""  # host:port
    flink: str = ""  # REST of the session cluster, http://host:port; '' when embedded
    checkpoints: str = ""  # URI of the folder that the cluster keeps checkpoints in, "" when embedded
    savepoints: str = ""
    store_user: str = "default"
    store_password: str = ""
    code: str = ""  # URI of the folder that keeps the code of jobs
    target: str = "session"  # where jobs are deployed: session | kubernetes
    namespace: str = "spanmill"  # of Kubernetes, like the next two
    image: str = ""  # that jobs run in
    kube_context: str = ""  # of kubectl's configuration, '' for its current one
    kafka: dict[str, str] = field(default_factory=dict)  # how clients prove themselves (schemas/kafka.py)
    metrics: dict[str, str] = field(default_factory=dict)  # process -> http://host:port/metrics

    @property
    def store_settings(self) -> StoreSettings:
        return StoreSettings(self.store, self.store_user, self.store_password, DATABASE)

    def require(self, *names: str) -> "Running":
        """Itself. Raises Failure that says how to give what it lacks."""
        lacking = [name for name in names if not getattr(self, name)]
        if lacking:
            options = " ".join(f"--{'brokers' if name == 'broker' else name} ..." for name in lacking)
            raise Failure(
                f"the context does not say: {', '.join(lacking)}", f"spanmill context set NAME {options}", Exit.USAGE
            )
        return self

    def save(self, data: Path) -> None:
        part = data / "run.json.part"
        part.touch(0o600)  # the control database's URL has its password
        part.write_text(json.dumps(asdict(self), indent=1))
        part.replace(data / "run.json")


def find_running(data: Path) -> Running:
    """Where things are: of the context that was chosen, of what runs on `data`, of the current context, in this order.

    Raises Failure when there is none.
    """
    if name := chosen.get():
        return _in_context(name)
    try:
        return Running(**json.loads((data / "run.json").read_text()))
    except FileNotFoundError:
        if current := read_contexts().current:
            return _in_context(current)
        raise Failure(
            f"nothing runs on the data folder {data}",
            "start it with: spanmill up, or name its folder with --data",
            Exit.CANNOT_CONNECT,
        ) from None


def _in_context(name: str) -> Running:
    nowhere = dict.fromkeys(("gateway", "grpc", "store", "broker", "control"), "")
    return Running(**{"pid": 0, "topic": TOPIC, "pids": {}, **nowhere, **place(name)})
