"""The embedded profile: broker, store, the services, and each job in a Flink of its own."""

from collections.abc import Sequence

from cli.local import parts
from cli.local.broker import Broker
from cli.local.process import Child
from cli.local.profile import Profile, sqlite_url
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
            *_budget_ports(profile),
        )
        control = sqlite_url(profile.data)
        broker = Broker(profile.data / "broker", java(), parts.jars("broker", self.say), profile.logs / "broker.log")
        store_port = profile.sql_port or free_port()
        store = parts.store(profile, store_port)
        store_url = f"http://127.0.0.1:{store_port}"
        self._launch(broker, store)
        self._wait(broker, store)
        parts.topics(broker.address, self.say)
        parts.migrate(control, store_url)
        ports = (profile.http_port or free_port(), profile.grpc_port or free_port())
        gateway = parts.gateway(profile, broker.address, control, *ports)
        job = parts.observe(profile, broker.address, store_url)
        alerts_port = free_port()
        alerts = parts.alerts(profile, broker.address, control, alerts_port)
        budgets, where, scraped = self._budgets(broker.address, control, store_url)
        self._launch(gateway, job, alerts, *budgets)
        self._wait(gateway, alerts, job, *budgets)
        gateway_url = f"http://{profile.host}:{ports[0]}"
        return {
            "gateway": gateway_url,
            "grpc": f"{profile.host}:{ports[1]}",
            "store": store_url,
            "broker": broker.address,
            "control": control,
            **where,
            "metrics": {
                "gateway": f"{gateway_url}/metrics",
                "store": f"{store_url}/metrics",
                "alerts": f"http://127.0.0.1:{alerts_port}/metrics",
                **scraped,
            },
        }

    def _budgets(self, broker: str, control: str, store_url: str) -> tuple[list[Child], dict[str, str], dict[str, str]]:
        """Their service and job, what `run.json` says of them, and where they are scraped; nothing without budgets."""
        profile = self.profile
        if not profile.budgets:
            return [], {}, {}
        http_port, grpc_port = profile.budget_http_port or free_port(), profile.budget_grpc_port or free_port()
        service = parts.budget_service(profile, broker, control, store_url, http_port, grpc_port)
        url = f"http://{profile.host}:{http_port}"
        where = {"budget": url, "budget_grpc": f"{profile.host}:{grpc_port}"}
        return [service, parts.budget(profile, broker, store_url)], where, {"budget-service": f"{url}/metrics"}

    def _stop_order(self) -> Sequence[str]:
        return ("gateway", "budget-service", "observe", "budget", "alerts", "store", "broker")


def _budget_ports(profile: Profile) -> list[tuple[int, str, str]]:
    if not profile.budgets:
        return []
    return [
        (profile.budget_grpc_port, "budgets over gRPC", "--budget-grpc-port"),
        (profile.budget_http_port, "budgets over HTTP", "--budget-http-port"),
    ]
