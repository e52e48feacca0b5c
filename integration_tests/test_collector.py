"""The OpenTelemetry Collector in front, with the example configuration: what the SDK's OTLP exporters send it goes
through a real broker and the observe job to a real store."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cli.kafka import Brokers
from cli.local.process import Child
from cli.topics import bring
from integration_tests.ground import ROOT, TOPIC, Ground, Job, laid, wait_for
from pipelines.ports import free_port
from schemas.topics import Topic

DEPLOY = ROOT / "deploy" / "collector"
ORG = "0042"  # YAML would make it the number 42 or 34, and the tenant of somebody else
TOKEN = "a-token-of-the-operator"
# All that the job reads from a record's headers, as a client would send it that wants to be somebody else.
FORGED = {"org": "globex", "team": "globex", "key_id": "stolen", "redact": "0", "signal": "logs", "received_at": "1"}
ATTRIBUTES = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 34,
    "gen_ai.request.temperature": 0.5,
    "app.cached": False,
    "app.note": "naïve 漢字",
    "app.contact": "ada@example.com",
}
KINDS = ["grpc", "http"]

# The first build fetches and compiles some hundred modules.
pytestmark = pytest.mark.timeout(1200)


class Collector(Child):
    """The Collector on ports of its own; `more` are configurations laid over the example."""

    def __init__(self, program: Path, folder: Path, brokers: str, org: str | None, *more: Path) -> None:
        grpc, http, health, metrics = (free_port() for _ in range(4))
        self.grpc, self.http, self.health = f"127.0.0.1:{grpc}", f"127.0.0.1:{http}", f"127.0.0.1:{health}"
        env = {
            "SPANMILL_BROKERS": brokers,
            "SPANMILL_OTLP_TOKEN": TOKEN,
            "SPANMILL_OTLP_GRPC": self.grpc,
            "SPANMILL_OTLP_HTTP": self.http,
            "SPANMILL_COLLECTOR_HEALTH": self.health,
            "SPANMILL_COLLECTOR_METRICS_PORT": str(metrics),
        } | ({"SPANMILL_ORG": org} if org is not None else {})
        configurations = [f"--config={path}" for path in (DEPLOY / "collector.yaml", *more)]
        super().__init__("collector", [str(program), *configurations], folder / "collector.log", env)

    def up(self) -> "Collector":
        self.start()
        wait_for(lambda: not self.alive or self._healthy())
        assert self.alive, self.tail()
        return self

    def _healthy(self) -> bool:
        with suppress(httpx2.TransportError):
            return httpx2.get(f"http://{self.health}").status_code == 200
        return False

    def client(self, kind: str, token: str = TOKEN, timeout: float = 10) -> SpanExporter:
        """The SDK's exporter over `grpc` or `http`, which forges every header that the job knows."""
        headers = {"authorization": f"Bearer {token}", **FORGED}
        if kind == "grpc":
            return GrpcExporter(endpoint=self.grpc, insecure=True, headers=headers, timeout=timeout)
        return HttpExporter(endpoint=f"http://{self.http}/v1/traces", headers=headers, timeout=timeout)

    def export(self, kind: str, spans: Sequence[ReadableSpan], **options) -> SpanExportResult:
        client = self.client(kind, **options)
        try:
            return client.export(spans)
        finally:
            client.shutdown()


Start = Callable[..., Collector]


@pytest.fixture(scope="module")
def program() -> Path:
    if shutil.which("go") is None:
        pytest.skip("the Collector is built from its sources, and there is no `go` here")
    return Path(built().stdout.strip())


@pytest.fixture(scope="module")
def ground(program, tmp_path_factory) -> Iterator[Ground]:
    with laid(tmp_path_factory.mktemp("ground")) as made:
        yield made


@pytest.fixture(scope="module")
def start(program, tmp_path_factory) -> Iterator[Start]:
    made: list[Collector] = []

    def start(brokers: str, org: str | None = ORG, *more: Path) -> Collector:
        made.append(Collector(program, tmp_path_factory.mktemp("collector"), brokers, org, *more))
        return made[-1].up()

    yield start
    for collector in made:
        collector.kill()


@pytest.fixture(scope="module")
def collector(ground, start) -> Collector:
    return start(ground.broker)


@pytest.fixture(scope="module")
def job(ground, tmp_path_factory) -> Iterator[Job]:
    made = Job(ground, tmp_path_factory.mktemp("job"))
    try:
        yield made.start()
    finally:
        made.end()


def built() -> subprocess.CompletedProcess[str]:
    done = subprocess.run([DEPLOY / "build"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def traces(service: str, count: int = 3) -> tuple[ReadableSpan, ...]:
    """`count` traces of an agent that calls a model and a tool; the tool fails. They are exported as one request."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": service, "org": "globex"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("acceptance", "1.2")
    for number in range(count):
        with tracer.start_as_current_span(f"agent {number}"):
            with tracer.start_as_current_span("chat gpt-4o", kind=trace.SpanKind.CLIENT, attributes=ATTRIBUTES):
                pass
            with tracer.start_as_current_span("search", attributes={"gen_ai.tool.name": "search"}) as tool:
                tool.set_status(trace.StatusCode.ERROR, "no answer")
    return memory.get_finished_spans()


def records(ground: Ground, topic: str) -> list[Message]:
    """All records of the topic, partition by partition in their order."""
    consumer = Consumer({"bootstrap.servers": ground.broker, "group.id": "test-collector"})
    found: list[Message] = []
    try:
        for partition in consumer.list_topics(topic, 10).topics[topic].partitions:
            here = TopicPartition(topic, partition, 0)
            missing = consumer.get_watermark_offsets(here, 10)[1]
            consumer.assign([here])
            while missing:
                more = consumer.consume(missing, 30)
                missing -= len(more)
                found += more
    finally:
        consumer.close()
    assert all(record.error() is None for record in found)
    return found


def key_of(record: Message) -> str:
    return (record.key() or b"").decode()


def ids_in(body: bytes | None) -> list[tuple[str, str]]:
    """(trace id, span id) of each span of a TracesData, in hex."""
    spans = [s for r in TracesData.FromString(body or b"").resource_spans for c in r.scope_spans for s in c.spans]
    return [(span.trace_id.hex(), span.span_id.hex()) for span in spans]


def hex_ids(span: ReadableSpan) -> tuple[str, str]:
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def test_a_collector_that_was_built_is_not_built_again(program):
    before = program.stat()
    again = built()
    assert (again.stdout, again.stderr) == (f"{program}\n", "")
    assert program.stat() == before


@pytest.mark.parametrize("kind", KINDS)
def test_spans_reach_the_store_as_they_were_sent_and_under_the_operators_tenant(ground, collector, job, kind):
    service, begun = f"store-{kind}", time.time_ns()
    sent = {hex_ids(span): span for span in traces(service)}
    assert collector.export(kind, list(sent.values())) == SpanExportResult.SUCCESS
    wait_for(lambda: ground.number(f"SELECT count() FROM spans WHERE service = '{service}'") == len(sent))

    columns = "*, toUnixTimestamp64Nano(received_at) AS at"
    for row in ground.rows(f"SELECT {columns} FROM spans WHERE service = '{service}'"):
        span = sent.pop((row["trace_id"], row["span_id"]))
        assert (row["org"], row["team"], row["key_id"]) == (ORG, "", "")
        assert begun < row["at"] < time.time_ns()
        assert row["name"] == span.name
        assert row["parent_span_id"] == (f"{span.parent.span_id:016x}" if span.parent else "")
        assert (row["scope"], row["scope_version"]) == ("acceptance", "1.2")
        assert row["resource"] == {"service.name": service, "org": "globex"}
        assert row["duration_ns"] == (span.end_time or 0) - (span.start_time or 0)
        assert row["status"] == ("error" if span.name == "search" else "unset")
        if span.name == "chat gpt-4o":
            texts = {key: value if isinstance(value, str) else str(value).lower() for key, value in ATTRIBUTES.items()}
            # A client cannot switch redaction off.
            assert row["attributes"] == texts | {"app.contact": "[redacted:email]"}
            assert (row["input_tokens"], row["output_tokens"], row["cost_status"]) == (1200, 34, "priced")
    assert not sent
    assert ground.number(f"SELECT count() FROM spans WHERE org != '{ORG}'") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_is_one_trace_with_its_id_as_the_key_and_the_operators_header_alone(ground, collector, kind):
    service = f"record-{kind}"
    sent = traces(service, 5)
    assert collector.export(kind, sent) == SpanExportResult.SUCCESS
    keys = {hex_ids(span)[0] for span in sent}
    found = [record for record in records(ground, TOPIC) if key_of(record) in keys]
    assert len(found) == len(keys) == 5
    for record in found:
        assert {trace_id for trace_id, _ in ids_in(record.value())} == {key_of(record)}
        assert record.headers() == [("org", ORG.encode())]
    assert sorted(i for record in found for i in ids_in(record.value())) == sorted(map(hex_ids, sent))


def test_what_many_clients_send_at_once_is_in_the_log_once_when_they_are_told_so(ground, collector):
    # Each trace comes in three requests, in one batch or in several.
    requests = [spans[i::3] for spans in (traces("many", 1) for _ in range(20)) for i in range(3)]
    with ThreadPoolExecutor(12) as clients:
        told = list(clients.map(collector.export, KINDS * 30, requests))
    assert told == [SpanExportResult.SUCCESS] * 60
    sent = sorted(hex_ids(span) for request in requests for span in request)
    keys = {trace_id for trace_id, _ in sent}
    found = [record for record in records(ground, TOPIC) if key_of(record) in keys]
    assert sorted(i for record in found for i in ids_in(record.value())) == sent
    assert all({trace_id for trace_id, _ in ids_in(record.value())} == {key_of(record)} for record in found)
    # A trace stays in one partition.
    assert len({(key_of(record), record.partition()) for record in found}) == 20


@pytest.mark.parametrize("kind", KINDS)
def test_client_metadata_as_record_headers_would_let_a_client_choose_its_tenant(ground, start, tmp_path, kind):
    """What collector.yaml warns of, and the proof that the tests above would see it."""
    bring(Brokers(ground.broker), Topic(f"forged-{kind}", 1))
    (tmp_path / "dangerous.yaml").write_text(f"""
receivers: {{otlp: {{protocols: {{grpc: {{include_metadata: true}}, http: {{include_metadata: true}}}}}}}}
exporters:
  kafka:
    traces: {{topic: forged-{kind}}}
    include_metadata_keys: [org]
    sending_queue: {{batch: {{partition: {{metadata_keys: [org]}}}}}}
""")
    dangerous = start(ground.broker, ORG, tmp_path / "dangerous.yaml")
    assert dangerous.export(kind, traces("forged", 1)) == SpanExportResult.SUCCESS
    (record,) = records(ground, f"forged-{kind}")
    assert record.headers() == [("org", ORG.encode()), ("org", b"globex")]


def test_records_of_a_collector_without_a_tenant_are_dead_letters(ground, start, job):
    sent = traces("nobody", 2)
    assert start(ground.broker, None).export("grpc", sent) == SpanExportResult.SUCCESS
    wait_for(lambda: ground.number("SELECT count() FROM dead_letters") == 2)
    rows = ground.rows("SELECT org, step, error, hex(raw) AS raw FROM dead_letters")
    assert {(row["org"], row["step"], row["error"]) for row in rows} == {("", "source", "MissingTenant")}
    assert sorted(i for row in rows for i in ids_in(bytes.fromhex(row["raw"]))) == sorted(map(hex_ids, sent))
    assert ground.number("SELECT count() FROM spans WHERE service = 'nobody'") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_without_the_token_is_refused(ground, collector, kind):
    sent = traces("stranger")
    assert collector.export(kind, sent, token="guessed") == SpanExportResult.FAILURE
    assert not {hex_ids(span)[0] for span in sent} & {key_of(record) for record in records(ground, TOPIC)}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_acknowledged_that_the_broker_did_not_take(start, kind):
    cut_off = start(f"127.0.0.1:{free_port()}")
    assert cut_off.export(kind, traces("lost", 1), timeout=3) == SpanExportResult.FAILURE


def test_a_collector_without_a_token_does_not_start(program):
    command = [program, "validate", f"--config={DEPLOY / 'collector.yaml'}"]
    done = subprocess.run(command, env={"SPANMILL_BROKERS": "127.0.0.1:1", "SPANMILL_ORG": ORG}, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 1
    assert "no bearer token provided" in done.stderr
