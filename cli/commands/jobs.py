"""`spanmill job`: deploys jobs to a Flink cluster, upgrades them with their state, and goes back.

The cluster is a session cluster or Kubernetes: --target, else what the context says.
"""

import getpass
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cli.control import opened, utc
from cli.exits import Exit, Failure
from cli.jobs.flink_rest import FlinkRest
from cli.jobs.kubectl import Kubectl
from cli.jobs.kubernetes import Start, render, site_of, snapshot, to_yaml
from cli.jobs.operated import Operated
from cli.jobs.plan import Plan, short_code
from cli.jobs.session import Session
from cli.jobs.spec import JobSpec, job_spec, known_jobs
from cli.jobs.target import WAY_BACK_S, Target, TargetName, Wish, require_live
from cli.local.profile import Running, find_running
from cli.options import DATA, Data, Output
from cli.output import Form, paper, say, show
from services.control.jobs import Revision, release_lock, revisions, take_lock

commands = typer.Typer(
    help="Jobs on a Flink cluster: plan, deploy, upgrade, roll back.", no_args_is_help=True, rich_markup_mode="rich"
)

_LOCK_SLACK_S = 1_300 + WAY_BACK_S  # two savepoints and the way back

JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="See spanmill job list.", autocompletion=lambda: known_jobs())
]
Spec = Annotated[
    Path | None, typer.Option(help="YAML file of settings over the job's own.", exists=True, dir_okay=False)
]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="One setting; repeatable.")]
Parallelism = Annotated[int | None, typer.Option(min=1, help="Subtasks, each on a TaskManager of its own.")]
Lost = Annotated[list[str] | None, typer.Option(metavar="UID", help="Give up the state of this operator; repeatable.")]
From = Annotated[str, typer.Option("--from", metavar="URI", help="Begin with this savepoint or retained checkpoint.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Begin with an empty state, from the log's beginning.")]
Timeout = Annotated[float, typer.Option(min=1, help="Seconds until the new revision must be well.")]


Where = Annotated[TargetName | None, typer.Option("--target", help="The context's, or session, when not given.")]
Image = Annotated[str, typer.Option(metavar="IMAGE", help="On Kubernetes: what the job runs in; else the context's.")]


@contextmanager
def _target(data: Path, asked: TargetName | None, image: str = "") -> Iterator[Target]:
    running = find_running(data)
    operator = f"{getpass.getuser()}@{socket.gethostname()}"
    if (asked or running.target) == TargetName.kubernetes:
        running.require("control")
        kubectl = Kubectl(running.namespace, running.kube_context)
        with opened(running.control) as engine:
            yield Operated(running, kubectl, engine, operator, say, time.time_ns, image)
        return
    if image:
        raise Failure("a session cluster runs this code, no image", "--target kubernetes", Exit.USAGE)
    _require_session(running, data)
    with opened(running.control) as engine:
        yield Session(running, FlinkRest(running.flink), engine, operator, say, time.time_ns)


def _require_session(running: Running, data: Path) -> None:
    if not running.flink:
        raise Failure(
            f"what runs on {data} is the embedded profile, whose job is its own",
            "spanmill cluster up, or --context NAME",
            Exit.REFUSED,
        )
    running.require("broker", "store", "control", "savepoints", "code")


@contextmanager
def _locked(target: Target, job: str, timeout: float) -> Iterator[None]:
    now = time.time_ns()
    lock = take_lock(target.engine, job, target.operator, now, now + int((timeout + _LOCK_SLACK_S) * 10**9))
    try:
        yield
    finally:
        release_lock(target.engine, lock)


@commands.command("list")
def list_(data: Data = DATA, target: Where = None, output: Output = Form.table) -> None:
    """List the jobs that this version ships, and how each is.

    [bold]Example[/]

      spanmill job list
    """
    with _target(data, target) as cluster:
        states = cluster.states()
        rows = []
        for job in known_jobs():
            history = revisions(cluster.engine, job, cluster.name)
            newest = history[0] if history else None
            rows.append(
                {"job": job, "state": states.get(job, "not deployed").lower(),
                 "revision": newest.revision if newest else None,
                 "deployed_at": utc(newest.created_at) if newest else None}
            )  # fmt: skip
        show(rows, ["job", "state", "revision", "deployed_at"], output)


@commands.command("render")
def render_(
    job: JobName,
    data: Data = DATA,
    target: Where = None,
    image: Image = "",
    namespace: Annotated[str, typer.Option(help="Else the context's.")] = "",
    spec: Spec = None,
    sets: Sets = None,
    parallelism: Parallelism = None,
    from_: From = "",
    savepoint: Annotated[
        str, typer.Option(metavar="NAME", help="And a FlinkStateSnapshot of this name: applied, it takes a savepoint.")
    ] = "",
) -> None:
    """Print a job's manifests for Kubernetes as YAML, to keep in a repository. Asks no cluster, prints no secret.

    [bold]Examples[/]

      spanmill job render observe --target kubernetes > observe.yaml

      spanmill job render observe --target kubernetes --set horizon_s=900 | kubectl apply -f -
    """
    running = find_running(data)
    if (asked := target or running.target) != TargetName.kubernetes:
        what = f"there are no manifests for the target {asked}: spanmill job deploy submits to it"
        raise Failure(what, f"spanmill job render {job} --target kubernetes", Exit.USAGE)
    site = site_of(running, image, namespace)
    wanted = job_spec(job, running, spec, sets or (), parallelism)
    manifests = render(job, wanted.settings, site, Start(from_))
    sys.stdout.write(to_yaml([*manifests, *([snapshot(job, site.namespace, savepoint)] if savepoint else [])]))


@commands.command("plan")
def plan(
    job: JobName,
    data: Data = DATA,
    target: Where = None,
    image: Image = "",
    spec: Spec = None,
    sets: Sets = None,
    parallelism: Parallelism = None,
    allow_lost_state: Lost = None,
    from_: From = "",
    fresh: Fresh = False,
    out: Annotated[Path | None, typer.Option(help="Write the plan to this file, for deploy --plan.")] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 3 when there are changes.")] = False,
    output: Output = Form.table,
) -> None:
    """Show what deploy or upgrade would change, and what becomes of the job's state. Changes nothing.

    Exits with 4 when a line is breaking, or loses state that was not given up by name.

    [bold]Examples[/]

      spanmill job plan observe

      spanmill job plan observe --parallelism 4 --out plan.json && spanmill job upgrade observe --plan plan.json
    """
    with _target(data, target, image) as cluster:
        wanted = job_spec(job, cluster.running, spec, sets or (), parallelism)
        with cluster.client(wanted) as client:
            made = cluster.plan(wanted, client, Wish(tuple(allow_lost_state or ()), from_, fresh))
    if out:
        out.write_text(made.to_json())
        say(f"written to {out}: spanmill job {'upgrade' if made.flink_job else 'deploy'} {job} --plan {out}")
    _show(made, output)
    _check(made)
    if exit_code and made.changes:
        raise typer.Exit(Exit.CHANGES)


@commands.command("deploy")
def deploy(
    job: JobName,
    data: Data = DATA,
    target: Where = None,
    image: Image = "",
    spec: Spec = None,
    sets: Sets = None,
    parallelism: Parallelism = None,
    allow_lost_state: Lost = None,
    from_: From = "",
    fresh: Fresh = False,
    plan_file: Annotated[Path | None, typer.Option("--plan", help="Apply this plan, or refuse if it is stale.")] = None,
    timeout: Timeout = 180,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="The same as spanmill job plan.")] = False,
    output: Output = Form.table,
) -> None:
    """Bring a job to its spec: start it, from the savepoint it left if it ran before, or upgrade it.

    The same spec twice changes nothing. A new revision that is not well in time is taken back.

    [bold]Examples[/]

      spanmill job deploy observe

      spanmill job deploy observe --parallelism 4 --set buckets=16

      spanmill job deploy observe --from file:///savepoints/savepoint-0a4b74-c525cf3673e8

      spanmill job deploy observe --target kubernetes --image registry.example.com/spanmill:0.1.0
    """
    wish = Wish(tuple(allow_lost_state or ()), from_, fresh)
    with _target(data, target, image) as cluster:
        wanted = job_spec(job, cluster.running, spec, sets or (), parallelism)
        _bring(cluster, wanted, wish, plan_file, timeout, dry_run, output)


@commands.command("upgrade")
def upgrade(
    job: JobName,
    data: Data = DATA,
    target: Where = None,
    image: Image = "",
    spec: Spec = None,
    sets: Sets = None,
    parallelism: Parallelism = None,
    allow_lost_state: Lost = None,
    plan_file: Annotated[Path | None, typer.Option("--plan", help="Apply this plan, or refuse if it is stale.")] = None,
    timeout: Timeout = 180,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="The same as spanmill job plan.")] = False,
    output: Output = Form.table,
) -> None:
    """Change a running job: savepoint, stop, submit, and wait until the new revision is well, else go back.

    [bold]Examples[/]

      spanmill job upgrade observe --parallelism 4

      spanmill job upgrade observe --set horizon_s=900 --dry-run
    """
    with _target(data, target, image) as cluster:
        require_live(cluster, job)
        wanted = job_spec(job, cluster.running, spec, sets or (), parallelism)
        wish = Wish(tuple(allow_lost_state or ()))
        _bring(cluster, wanted, wish, plan_file, timeout, dry_run, output)


def _bring(
    cluster: Target, wanted: JobSpec, wish: Wish, plan_file: Path | None, timeout: float, dry_run: bool, output: Form
) -> None:
    with _locked(cluster, wanted.name, timeout), cluster.client(wanted) as client:
        made = cluster.plan(wanted, client, wish)
        if plan_file and json.loads(plan_file.read_text()).get("digest") != made.digest:
            raise Failure(
                f"{plan_file} is stale: cluster, code or settings are not those that it was made for",
                f"spanmill job plan {wanted.name} --out {plan_file}",
                Exit.REFUSED,
            )
        _check(made)
        if dry_run:
            _show(made, output)
            return
        if not made.changes:
            say(f"{wanted.name} is as it should be: nothing to change")
            revision = require_live(cluster, wanted.name)
        else:
            revision = cluster.apply(wanted, made, client, timeout)
    _show_revisions([revision], output)


@commands.command("rollback")
def rollback(
    job: JobName,
    data: Data = DATA,
    target: Where = None,
    to: Annotated[int | None, typer.Option(help="The revision; the one that ran before, when not given.")] = None,
    timeout: Timeout = 180,
    output: Output = Form.table,
) -> None:
    """Go back to an earlier revision: its settings, its code.

    From a savepoint taken now when its code can read that, so that nothing is computed twice; else from the savepoint
    that it left: the rows since are then written again, and replace themselves.

    [bold]Examples[/]

      spanmill job rollback observe

      spanmill job rollback observe --to 3
    """
    with _target(data, target) as cluster:
        entry = job_spec(job, cluster.running, None, (), None).entry
        with _locked(cluster, job, timeout):
            _show_revisions([cluster.rollback(entry, job, to, timeout)], output)


@commands.command("stop")
def stop(job: JobName, data: Data = DATA, target: Where = None, output: Output = Form.table) -> None:
    """Stop a job with a savepoint; the next deploy goes on from there. Stopped already, it changes nothing.

    [bold]Example[/]

      spanmill job stop observe
    """
    with _target(data, target) as cluster, _locked(cluster, job, 0):
        if cluster.live(job) is None:
            say(f"{job} does not run")
            return
        _show_revisions([cluster.stop(job)], output)


@commands.command("savepoint")
def savepoint(job: JobName, data: Data = DATA, target: Where = None, output: Output = Form.table) -> None:
    """Take a savepoint of a running job and write it into its history.

    [bold]Example[/]

      spanmill job savepoint observe -o json
    """
    with _target(data, target) as cluster, _locked(cluster, job, 0):
        _show_revisions([cluster.savepoint(job)], output)


@commands.command("history")
def history(job: JobName, data: Data = DATA, target: Where = None, output: Output = Form.table) -> None:
    """List the revisions of a job with their savepoints, the newest first.

    [bold]Example[/]

      spanmill job history observe
    """
    with _target(data, target) as cluster:
        _show_revisions(revisions(cluster.engine, job, cluster.name), output)


@commands.command("status")
def status(job: JobName, data: Data = DATA, target: Where = None, output: Output = Form.table) -> None:
    """Show how a job is: tasks, checkpoints, lag, restarts, the last failure.

    [bold]Example[/]

      spanmill job status observe -o json
    """
    with _target(data, target) as cluster:
        row = cluster.status(job)
    if output is Form.table:
        show([{"": name, "value": value} for name, value in row.items()], ["", "value"], output)
    else:
        show([row], list(row), output)


@commands.command("logs")
def logs(
    job: JobName,
    data: Data = DATA,
    target: Where = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Of each process, the last ones.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
) -> None:
    """Print the logs of the JobManager and of the TaskManagers.

    [bold]Examples[/]

      spanmill job logs observe -n 200

      spanmill job logs observe --follow
    """
    with _target(data, target) as cluster:
        for line in cluster.logs(job, lines, follow):
            sys.stdout.write(line)


def _check(made: Plan) -> None:
    if refused := made.refused:
        raise Failure(
            "\n".join(f"{line.subject}: {line.label}: {line.reason}" for line in refused),
            "; ".join(dict.fromkeys(line.cure for line in refused)),
            Exit.REFUSED,
        )


def _show(made: Plan, output: Form) -> None:
    rows = [vars(line) for line in made.lines]
    columns = ["subject", "old", "new", "label", "reason", "cure"]
    if output is not Form.table:
        show(rows, columns, output)
        return
    where = f"revision {made.base} runs" if made.flink_job else "it does not run"
    if not rows:
        say(f"{made.job} is as it should be: nothing to change")
        return
    show(rows, columns, output, f"{made.job} on {made.cluster}: {where}")
    paper.print()


def _show_revisions(found: list[Revision], output: Form) -> None:
    rows = [
        {"revision": r.revision, "state": str(r.state), "deployed_at": utc(r.created_at), "operator": r.operator,
         "code": short_code(r.code), "parallelism": r.spec.get("parallelism"), "flink_job": r.flink_job,
         "started_from": r.started_from, "savepoint": r.savepoint, "message": r.message}
        for r in found
    ]  # fmt: skip
    columns = ["revision", "state", "deployed_at", "operator", "code", "parallelism", "flink_job"]
    show(rows, [*columns, "started_from", "savepoint", "message"], output)
