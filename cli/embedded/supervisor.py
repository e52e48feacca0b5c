"""Starts the embedded profile as child processes, keeps them running, and stops them so that nothing is lost."""

import os
import time
from collections.abc import Callable

from cli.embedded import children
from cli.embedded.broker import Broker, create_topic
from cli.embedded.folder import hold
from cli.embedded.ports import require_free
from cli.embedded.process import Child
from cli.embedded.profile import PARTITIONS, TOPIC, Profile, Running
from pipelines.jars import java
from pipelines.ports import free_port

Say = Callable[[str], None]

# Seconds before a child that died is started again: 1, 2, 4 ... at most this.
_LONGEST_PAUSE = 30.0


class Supervisor:
    """Broker, store, gateway and the observe job on one data folder, which only one supervisor may hold."""

    def __init__(self, profile: Profile, say: Say) -> None:
        self.profile = profile
        self.say = say
        self.children: dict[str, Child] = {}
        self._deaths: dict[str, int] = {}
        self._start_at: dict[str, float] = {}

    def start(self) -> Running:
        """Starts everything and returns where it listens. Raises Failure, with what was started stopped again."""
        self._folder = hold(self.profile.data)
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> Running:
        profile, began = self.profile, time.monotonic()
        for port, what, option in (
            (profile.http_port, "OTLP/HTTP", "--http-port"),
            (profile.grpc_port, "OTLP/gRPC", "--grpc-port"),
            (profile.sql_port, "SQL", "--sql-port"),
        ):
            if port:
                require_free(profile.host, port, what, option)
        jars = children.jars("broker", self.say)
        broker = Broker(profile.data / "broker", java(), jars, profile.logs / "broker.log")
        store_port = profile.sql_port or free_port()
        store = children.store(profile, store_port)
        self._launch(broker, store)
        self._wait(began, broker, store)
        create_topic(broker.address, TOPIC, PARTITIONS)
        children.migrate(profile, f"http://127.0.0.1:{store_port}")
        ports = (profile.http_port or free_port(), profile.grpc_port or free_port())
        gateway = children.gateway(profile, broker.address, *ports)
        job = children.observe(profile, broker.address, f"http://127.0.0.1:{store_port}")
        self._launch(gateway, job)
        self._wait(began, gateway, job)
        self._addresses = {
            "gateway": f"http://{profile.host}:{ports[0]}",
            "grpc": f"{profile.host}:{ports[1]}",
            "store": f"http://127.0.0.1:{store_port}",
            "broker": broker.address,
        }
        return self._save()

    def _save(self) -> Running:
        pids = {name: child.pid for name, child in self.children.items()}
        running = Running(pid=os.getpid(), topic=TOPIC, pids=pids, **self._addresses)
        running.save(self.profile.data)
        return running

    def _launch(self, *started: Child) -> None:
        for child in started:
            self.children[child.name] = child
            child.start()

    def _wait(self, began: float, *started: Child) -> None:
        for child in started:
            child.wait_ready(120)
            self.say(f"{child.name} {time.monotonic() - began:.1f} s")

    def watch(self) -> None:
        """One look at the children: what has died is started again on its ports, with growing pauses."""
        now = time.monotonic()
        for name, child in self.children.items():
            if child.alive:
                continue
            if name not in self._start_at:
                deaths = self._deaths[name] = self._deaths.get(name, 0) + 1
                pause = min(_LONGEST_PAUSE, 2.0 ** (deaths - 1))
                self._start_at[name] = now + pause
                self.say(f"{name} ended; starting it again in {pause:.0f} s (log: {child.log})")
            elif now >= self._start_at[name]:
                del self._start_at[name]
                child.kill()
                child.start()
                self._save()

    def stop(self) -> None:
        """Stops in the order of the flow, so that each part can hand on what it holds; lets go of the folder."""
        for name in ("gateway", "observe", "store", "broker"):
            if child := self.children.get(name):
                child.stop()
        (self.profile.data / "run.json").unlink(missing_ok=True)
        self._folder.close()
