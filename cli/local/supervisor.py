"""Starts a profile's parts as child processes, keeps them running, and stops them so that nothing is lost."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from cli.local.folder import hold
from cli.local.ports import require_free
from cli.local.process import Child
from cli.local.profile import TOPIC, Profile, Running

Say = Callable[[str], None]

# A Flink process on a machine that is busy with others takes more than a minute.
_START_S = 300
# Seconds before a child that died is started again: 1, 2, 4 ... at most this.
_LONGEST_PAUSE = 30.0


class Supervisor(ABC):
    """The parts of a profile on one data folder, which only one supervisor may hold. name: of the profile."""

    name: ClassVar[str]

    def __init__(self, profile: Profile, say: Say) -> None:
        self.profile = profile
        self.say = say
        self.children: dict[str, Child] = {}
        self._deaths: dict[str, int] = {}
        self._start_at: dict[str, float] = {}
        self._addresses: dict[str, object] = {}

    @abstractmethod
    def _start(self) -> dict[str, object]:
        """Starts everything in the order of need; the fields of Running that say where it listens."""

    @abstractmethod
    def _stop_order(self) -> Sequence[str]:
        """The names of the children in the order of the flow."""

    def start(self) -> Running:
        """Starts everything and returns where it listens. Raises Failure, with what was started stopped again."""
        self._folder = hold(self.profile.data, self.name)
        self._began = time.monotonic()
        try:
            self._addresses = self._start()
            return self._save()
        except BaseException:
            self.stop()
            raise

    def _save(self) -> Running:
        pids = {name: child.pid for name, child in self.children.items()}
        running = Running(**{"pid": os.getpid(), "topic": TOPIC, "pids": pids, **self._addresses})  # pyright: ignore[reportArgumentType]
        running.save(self.profile.data)
        return running

    def _require_ports(self, *ports: tuple[int, str, str]) -> None:
        for port, what, option in ports:
            if port:
                require_free(self.profile.host, port, what, option)

    def _launch(self, *started: Child) -> None:
        for child in started:
            self.children[child.name] = child
            child.start()

    def _wait(self, *started: Child) -> None:
        for child in started:
            child.wait_ready(_START_S)
            self._said_ready(child.name)

    def _said_ready(self, name: str) -> None:
        self.say(f"{name} {time.monotonic() - self._began:.1f} s")

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
        for name in self._stop_order():
            if child := self.children.get(name):
                child.stop()
        (self.profile.data / "run.json").unlink(missing_ok=True)
        self._folder.close()
