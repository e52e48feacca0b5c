"""The embedded profile: broker, store, the services, and each job in a Flink of its own."""

from collections.abc import Sequence

from cli.local import parts
from cli.local.broker import Broker
from cli.local.profile import sqlite_url
from cli.local.supervisor import Supervisor
from pipelines.jars import java
from pipelines.ports import free_port


class Embedded(Supervisor):
    """What `spanmill up` runs."""

    name = "embedded"

    def _start(self) -> dict[str, object]:
        profile = self.profile
        self._require_ports(
            (profile.http_port, "OTLP/HTTP", "--http-port"),
            (profile.grpc_port, "OTLP/gRPC", "--grpc-port"),
            (profile.sql_port, "SQL", "--sql-port"),
            (profile.budget_grpc_port, "budgets over gRPC", "--budget-grpc-port"),
            (profile.budget_http_port, "budgets over HTTP", "--budget-http-port"),
        )
        control = sqlite_url(profile.data)
        broker = Broker(profile.data / "broker", java(), parts.jars("broker", self.say), profile.logs / "broker.log")
        store_port = profile.sql_port or free_port()
        store = parts.store(profile, store_port)
        self._launch(broker, store)
        self._wait(broker, store)
        parts.topics(broker.address, self.say)
        parts.migrate(control, f"http://127.0.0.1:{store_port}")
        ports = (profile.http_port or free_port(), profile.grpc_port or free_port())
        gateway = parts.gateway(profile, broker.address, control, *ports)
        job = parts.observe(profile, broker.address, f"http://127.0.0.1:{store_port}")
        budget = parts.budget(profile, broker.address, f"http://127.0.0.1:{store_port}")
        budget_ports = (profile.budget_http_port or free_port(), profile.budget_grpc_port or free_port())
        budgets = parts.budget_service(profile, broker.address, control, *budget_ports)
        alerts_port = free_port()
        alerts = parts.alerts(profile, broker.address, control, alerts_port)
        self._launch(gateway, job, budget, budgets, alerts)
        self._wait(gateway, budgets, alerts, job, budget)
        gateway_url, store_url = f"http://{profile.host}:{ports[0]}", f"http://127.0.0.1:{store_port}"
        return {
            "gateway": gateway_url,
            "grpc": f"{profile.host}:{ports[1]}",
            "store": store_url,
            "broker": broker.address,
            "control": control,
            "budget": (budget_url := f"http://{profile.host}:{budget_ports[0]}"),
            "budget_grpc": f"{profile.host}:{budget_ports[1]}",
            "metrics": {
                "gateway": f"{gateway_url}/metrics",
                "store": f"{store_url}/metrics",
                "budget-service": f"{budget_url}/metrics",
                "alerts": f"http://127.0.0.1:{alerts_port}/metrics",
            },
        }

    def _stop_order(self) -> Sequence[str]:
        return ("gateway", "budget-service", "observe", "budget", "alerts", "store", "broker")
