"""The cluster profile on one machine: Kafka, a Flink session cluster, store, Postgres, and the services."""

from collections.abc import Sequence

from cli.local import parts
from cli.local.broker import Broker
from cli.local.flink import FlinkFolder, job_manager, task_manager, wait_task_managers, zookeeper
from cli.local.ports import KeptPorts
from cli.local.postgres import Postgres
from cli.local.profile import ClusterProfile
from cli.local.supervisor import Say, Supervisor
from pipelines.jars import java

_REGISTER_S = 120


class Cluster(Supervisor):
    """What `spanmill cluster up` runs. Jobs are deployed to it; those that it had when it stopped go on."""

    name = "cluster"

    def __init__(self, profile: ClusterProfile, say: Say) -> None:
        super().__init__(profile, say)
        self.cluster = profile

    def _start(self) -> dict[str, object]:
        profile, data, logs = self.cluster, self.cluster.data, self.cluster.logs
        self._require_ports(
            (profile.http_port, "OTLP/HTTP", "--http-port"),
            (profile.grpc_port, "OTLP/gRPC", "--grpc-port"),
            (profile.sql_port, "SQL", "--sql-port"),
            (profile.budget_grpc_port, "budgets over gRPC", "--budget-grpc-port"),
            (profile.budget_http_port, "budgets over HTTP", "--budget-http-port"),
            (profile.flink_port, "Flink REST", "--flink-port"),
        )
        ports = KeptPorts(data)
        jars = parts.jars("broker", self.say)
        broker = Broker(data / "broker", java(), jars, logs / "broker.log", ports.get("broker"))
        store_port, flink_port = ports.get("store", profile.sql_port), ports.get("flink", profile.flink_port)
        store = parts.store(profile, store_port)
        postgres = Postgres(data / "postgres", logs / "postgres.log", ports.get("postgres"))
        flink = FlinkFolder(data / "flink", flink_port, ports.get("zookeeper"), profile.state_backend)
        flink.write(parts.jars("flink", self.say))
        metrics = {name: ports.get(f"{name} metrics") for name in ("jobmanager", *self._task_managers())}
        self._launch(broker, store, postgres, zookeeper(flink, logs / "zookeeper.log"))
        self._wait(broker, store, postgres)
        self._launch(job_manager(flink, logs / "jobmanager.log", metrics["jobmanager"]))
        for name in self._task_managers():
            self._launch(task_manager(flink, name, logs / f"{name}.log", metrics[name]))
        parts.topics(broker.address, self.say)
        store_url = f"http://127.0.0.1:{store_port}"
        parts.migrate(postgres.url, store_url)
        http_port, grpc_port = ports.get("http", profile.http_port), ports.get("grpc", profile.grpc_port)
        gateway = parts.gateway(profile, broker.address, postgres.url, http_port, grpc_port)
        alerts_port = ports.get("alerts metrics")
        alerts = parts.alerts(profile, broker.address, postgres.url, alerts_port)
        budget_http = ports.get("budget http", profile.budget_http_port)
        budget_grpc = ports.get("budget grpc", profile.budget_grpc_port)
        budgets = parts.budget_service(profile, broker.address, postgres.url, store_url, budget_http, budget_grpc)
        self._launch(gateway, budgets, alerts)
        self._wait(gateway, budgets, alerts)
        rest = f"http://127.0.0.1:{flink_port}"
        wait_task_managers(rest, profile.task_managers, _REGISTER_S)
        self._said_ready(f"flink with {profile.task_managers} TaskManagers")
        gateway_url, budget_url = f"http://{profile.host}:{http_port}", f"http://{profile.host}:{budget_http}"
        return {
            "gateway": gateway_url,
            "grpc": f"{profile.host}:{grpc_port}",
            "store": store_url,
            "broker": broker.address,
            "control": postgres.url,
            "budget": budget_url,
            "budget_grpc": f"{profile.host}:{budget_grpc}",
            "flink": rest,
            "checkpoints": flink.checkpoints,
            "savepoints": flink.savepoints,
            "code": (data / "code").resolve().as_uri(),
            "metrics": {
                "gateway": f"{gateway_url}/metrics",
                "store": f"http://127.0.0.1:{store_port}/metrics",
                "alerts": f"http://127.0.0.1:{alerts_port}/metrics",
                "budget-service": f"{budget_url}/metrics",
            }
            | {name: f"http://127.0.0.1:{port}/metrics" for name, port in metrics.items()},
        }

    def _task_managers(self) -> list[str]:
        return [f"taskmanager-{number}" for number in range(1, self.cluster.task_managers + 1)]

    def _stop_order(self) -> Sequence[str]:
        flink = (*self._task_managers(), "jobmanager", "zookeeper")
        return ("gateway", "budget-service", *flink, "alerts", "store", "postgres", "broker")
