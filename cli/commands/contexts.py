"""`spanmill context`: names for clusters, so that every command can be pointed at one."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from cli.contexts import Contexts, config_file, place, read_contexts, write_contexts
from cli.exits import Exit, Failure
from cli.jobs.target import TargetName
from cli.options import Output
from cli.output import Form, say, show

commands = typer.Typer(
    help="Names for clusters; --context NAME points any command at one.", no_args_is_help=True, rich_markup_mode="rich"
)

_SECRET = ("control", "store_password", "kafka")
_KAFKA = ("protocol", "ca", "certificate", "key", "mechanism", "username", "password")

Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=lambda: sorted(read_contexts().places))]


@commands.command("list")
def list_(output: Output = Form.table) -> None:
    """List the contexts.

    [bold]Example[/]

      spanmill context list
    """
    found = read_contexts()
    rows = [
        {"context": name, "current": name == found.current, "flink": said.get("flink"), "kafka": said.get("broker")}
        for name, said in sorted(found.places.items())
    ]
    show(rows, ["context", "current", "flink", "kafka"], output)


@commands.command("set")
def set_(
    name: Name,
    flink: Annotated[str | None, typer.Option(help="REST of the session cluster, http://host:port.")] = None,
    brokers: Annotated[str | None, typer.Option(help="Kafka bootstrap servers, host:port,...")] = None,
    topic: Annotated[str | None, typer.Option(help="The topic of raw spans; spans.raw when never set.")] = None,
    store: Annotated[str | None, typer.Option(help="ClickHouse over HTTP, http://host:port.")] = None,
    store_user: Annotated[str | None, typer.Option(help="Its account.")] = None,
    store_password: Annotated[
        str | None, typer.Option(envvar="SPANMILL_STORE_PASSWORD", help="Its password; better by the environment.")
    ] = None,
    control: Annotated[
        str | None, typer.Option(envvar="SPANMILL_CONTROL_URL", help="Control database, postgresql+psycopg://...")
    ] = None,
    gateway: Annotated[str | None, typer.Option(help="OTLP/HTTP of the gateway, http://host:port.")] = None,
    checkpoints: Annotated[str | None, typer.Option(help="URI of the folder of checkpoints.")] = None,
    savepoints: Annotated[str | None, typer.Option(help="URI of the folder of savepoints.")] = None,
    code: Annotated[
        str | None, typer.Option(help="file:// URI of a folder that this machine and the TaskManagers share.")
    ] = None,
    target: Annotated[TargetName | None, typer.Option(help="Where jobs are deployed; session when never set.")] = None,
    namespace: Annotated[str | None, typer.Option(help="Of Kubernetes; spanmill when never set.")] = None,
    image: Annotated[str | None, typer.Option(help="The image that jobs run in on Kubernetes.")] = None,
    kube_context: Annotated[str | None, typer.Option(help="kubectl's context; its current one when never set.")] = None,
    kafka: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help=f"How to reach Kafka: {', '.join(_KAFKA)}.")
    ] = None,
) -> None:
    """Make a context, or change what is given of one; the same again changes nothing.

    [bold]Examples[/]

      spanmill context set prod --flink http://flink:8081 --brokers kafka-1:9092 --store http://clickhouse:8123

      spanmill context set prod --target kubernetes --namespace llm --image registry.example.com/spanmill:0.1.0

      spanmill context set prod --kafka protocol=SASL_SSL --kafka ca=/etc/kafka/ca.pem --kafka username=spanmill
    """
    given: dict[str, Any] = {
        "flink": flink, "broker": brokers, "topic": topic, "store": store, "store_user": store_user,
        "store_password": store_password, "control": control, "gateway": gateway, "checkpoints": checkpoints,
        "savepoints": savepoints, "code": code, "target": target and target.value, "namespace": namespace,
        "image": image, "kube_context": kube_context,
    }  # fmt: skip
    found = read_contexts()
    said = {**found.places.get(name, {}), **{key: value for key, value in given.items() if value is not None}}
    if kafka:
        said["kafka"] = {**said.get("kafka", {}), **dict(_pair(text) for text in kafka)}
    write_contexts(replace(found, places={**found.places, name: said}))
    say(f"context {name} in {config_file()}; use it: spanmill context use {name}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or name not in _KAFKA:
        raise Failure(f"--kafka {text!r} is not NAME=VALUE", f"the names are {', '.join(_KAFKA)}", Exit.USAGE)
    return name, value


@commands.command("use")
def use(name: Name) -> None:
    """Make a context the current one.

    [bold]Example[/]

      spanmill context use prod
    """
    place(name)
    write_contexts(replace(read_contexts(), current=name))
    say(f"the current context is {name}")


@commands.command("show")
def show_(name: Name, output: Output = Form.table) -> None:
    """Show what a context says, without its secrets.

    [bold]Example[/]

      spanmill context show prod
    """
    said = {key: "(hidden)" if key in _SECRET else value for key, value in place(name).items()}
    if output is Form.table:
        show([{"": key, "value": value} for key, value in said.items()], ["", "value"], output)
    else:
        show([said], list(said), output)


@commands.command("delete")
def delete(name: Name) -> None:
    """Forget a context; the cluster stays as it is. Forgotten already, it changes nothing.

    [bold]Example[/]

      spanmill context delete old
    """
    found = read_contexts()
    rest = {key: value for key, value in found.places.items() if key != name}
    write_contexts(Contexts("" if found.current == name else found.current, rest))
    say(f"there is no context {name} any more")
