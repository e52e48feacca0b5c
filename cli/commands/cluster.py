"""`spanmill cluster`: Kafka, a Flink session cluster, the store, Postgres and the gateway on this machine."""

import os
import signal
import subprocess
import sys
import time
from typing import Annotated, Any, Literal

import httpx2
import typer

from cli.exits import Exit, Failure
from cli.local.cluster import Cluster
from cli.local.folder import is_held
from cli.local.foreground import run
from cli.local.process import process_rows
from cli.local.profile import ClusterProfile, Running, find_running
from cli.options import DATA, Data, Output
from cli.output import Form, paper, say, show

_STOP_S = 120

commands = typer.Typer(
    help="The cluster profile on this machine, on loopback, as ordinary processes.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@commands.command("up")
def up(
    data: Data = DATA,
    task_managers: Annotated[int, typer.Option(min=1, max=32, help="TaskManagers, of one slot each.")] = 3,
    state_backend: Annotated[
        Literal["hashmap", "rocksdb"], typer.Option(help="Where the jobs keep their state between checkpoints.")
    ] = "hashmap",
    http_port: Annotated[int, typer.Option(help="OTLP/HTTP; 0 takes a free port.")] = 4318,
    grpc_port: Annotated[int, typer.Option(help="OTLP/gRPC; 0 takes a free port.")] = 4317,
    sql_port: Annotated[int, typer.Option(help="ClickHouse HTTP protocol; 0 takes a free port.")] = 8123,
    flink_port: Annotated[int, typer.Option(help="Flink's REST and web page; 0 takes a free port.")] = 8081,
    budget_grpc_port: Annotated[int, typer.Option(help="Budgets over gRPC; 0 takes a free port.")] = 4319,
    budget_http_port: Annotated[int, typer.Option(help="Budgets as JSON over HTTP; 0 takes a free port.")] = 4320,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when it is up; spanmill cluster down.")
    ] = False,
) -> None:
    """Start the cluster on this machine: Kafka, Flink (JobManager, TaskManagers, ZooKeeper), store, Postgres, gateway.

    It runs until Ctrl-C, or until `spanmill cluster down`. Started again on the same folder it goes on where it
    stopped, with the jobs that ran.

    [bold]Examples[/]

      spanmill cluster up

      spanmill cluster up --detach --task-managers 4 && spanmill job deploy observe
    """
    profile = ClusterProfile(
        data, "127.0.0.1", http_port, grpc_port, sql_port,
        budget_grpc_port=budget_grpc_port, budget_http_port=budget_http_port,
        flink_port=flink_port, task_managers=task_managers, state_backend=state_backend,
    )  # fmt: skip
    if detach:
        running = _in_background(profile)
        paper.print(banner(running, profile), markup=False)
        return
    run(
        Cluster(profile, say),
        lambda running: paper.print(banner(running, profile), markup=False),
        "stopping; what was acknowledged is kept, jobs go on at the next start",
    )


@commands.command("down")
def down(data: Data = DATA) -> None:
    """Stop the cluster of a data folder; nothing is lost. Stopped already, it changes nothing.

    [bold]Example[/]

      spanmill cluster down
    """
    if not is_held(data):
        say(f"nothing runs on {data}")
        return
    os.kill(find_running(data).pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    while is_held(data):
        if time.monotonic() > deadline:
            raise Failure(f"it did not stop within {_STOP_S} s", f"see the logs in {data / 'logs'}", Exit.TIMED_OUT)
        time.sleep(0.1)
    say("stopped")


@commands.command("status")
def status(data: Data = DATA, output: Output = Form.table) -> None:
    """Show the cluster's processes, slots and jobs; exits with 6 when nothing runs.

    [bold]Example[/]

      spanmill cluster status -o json
    """
    running = find_running(data)
    processes = process_rows(running.pids)
    overview = _asked(running, "/overview")
    jobs = [
        {"job": job["name"], "id": job["jid"], "state": job["state"], "tasks": job["tasks"]["running"]}
        for job in _asked(running, "/jobs/overview")["jobs"]
    ]
    if output is not Form.table:
        show([{"processes": processes, "flink": overview, "jobs": jobs}], ["processes", "flink", "jobs"], output)
        return
    show(processes, ["process", "pid", "state", "memory_mb"], output, "processes")
    paper.print()
    show([overview], ["flink-version", "taskmanagers", "slots-total", "slots-available"], output, "flink")
    paper.print()
    show(jobs, ["job", "id", "state", "tasks"], output, "jobs")


def _asked(running: Running, path: str) -> dict[str, Any]:
    try:
        return httpx2.get(f"{running.flink}{path}", timeout=10).raise_for_status().json()
    except httpx2.HTTPError as error:
        what = f"Flink at {running.flink or 'nowhere'} does not answer: {error}"
        raise Failure(what, "spanmill cluster up", Exit.CANNOT_CONNECT) from error


def _in_background(profile: ClusterProfile) -> Running:
    """Starts `cluster up` in a session of its own and waits until it serves. Raises Failure with what it said."""
    profile.logs.mkdir(parents=True, exist_ok=True)
    log = profile.logs / "cluster.log"
    args = [sys.executable, "-c", "from cli.main import app; app()", "cluster", "up", "--data", str(profile.data)]
    args += ["--task-managers", str(profile.task_managers), "--state-backend", profile.state_backend]
    args += ["--http-port", str(profile.http_port), "--grpc-port", str(profile.grpc_port)]
    args += ["--sql-port", str(profile.sql_port), "--flink-port", str(profile.flink_port)]
    args += ["--budget-grpc-port", str(profile.budget_grpc_port)]
    args += ["--budget-http-port", str(profile.budget_http_port)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            args, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    shown = 0
    while True:
        ended = process.poll() is not None
        lines = log.read_text().splitlines()
        if ended:
            raise Failure("the cluster did not start:\n" + "\n".join(lines[-10:]), f"see {log}")
        if (profile.data / "run.json").exists() and find_running(profile.data).pid == process.pid:
            return find_running(profile.data)
        for line in lines[shown:]:
            say(line)
        shown = len(lines)
        time.sleep(0.2)


def banner(running: Running, profile: ClusterProfile) -> str:
    """How to send to it, how to query it, what to type next."""
    where = f" --data {profile.data}" if profile.data != DATA.resolve() else ""
    return f"""
spanmill   cluster   data {profile.data}   stop: spanmill cluster down{where}
OTLP   {running.gateway}   grpc {running.grpc}   no key needed on loopback
budget {running.budget}   grpc {running.budget_grpc}
SQL    {running.store}   (ClickHouse HTTP protocol, database spanmill)
Kafka  {running.broker}   topic {running.topic}
Flink  {running.flink}   {profile.task_managers} TaskManagers of one slot

next   spanmill job deploy observe{where}
       spanmill job deploy budget{where}
       spanmill cluster status{where}
"""
