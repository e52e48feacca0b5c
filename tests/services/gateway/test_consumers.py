import re

from confluent_kafka import Consumer, TopicPartition

from pipelines.ports import free_port
from tests.services.gateway.harness import Gateway, span_request, until

BODY = span_request().SerializeToString()


def _lags(gateway: Gateway) -> dict[tuple[str, str], int]:
    """By group and partition."""
    page = gateway.client.get(f"{gateway.http}/metrics").text
    found = re.findall(r'lag_records\{group="(.*)",partition="(.)",topic="(.*)"\} (.*)', page)
    assert {topic for *_, topic, _ in found} <= {gateway.settings["topic"]}
    return {(group, partition): round(float(records)) for group, partition, _, records in found}


def _commit(gateway: Gateway, group: str, *offsets: int) -> None:
    consumer = Consumer({"bootstrap.servers": gateway.broker.address, "group.id": group, "log_level": 0})
    topic = str(gateway.settings["topic"])
    consumer.commit(offsets=[TopicPartition(topic, p, o) for p, o in enumerate(offsets)], asynchronous=False)
    consumer.close()


def test_the_lag_of_a_group_is_what_the_log_has_beyond_its_commits(start) -> None:
    gateway = start(consumer_groups=["first", "second"])
    for _ in range(20):
        gateway.post(BODY)
    until(lambda: sum(_lags(gateway).values()) == 40)
    ends = [_lags(gateway)["first", partition] for partition in "01"]
    _commit(gateway, "first", ends[0], 0)
    until(lambda: _lags(gateway)["first", "0"] == 0)
    expected = {("first", "1"): ends[1], ("second", "0"): ends[0], ("second", "1"): ends[1]}
    assert _lags(gateway) == {("first", "0"): 0, **expected}


def test_a_lag_that_cannot_be_asked_for_is_absent(start, own_broker) -> None:
    gateway = start(own_broker)
    until(lambda: bool(_lags(gateway)))
    own_broker.kill()
    print("DBG", gateway.child.process.poll())
    until(lambda: not _lags(gateway))
    assert gateway.child.alive


def test_a_listener_of_its_own_tells_a_scraper_elsewhere_the_same_as_the_page_on_loopback(start) -> None:
    port = free_port()
    gateway = start(metrics_port=port)
    assert gateway.call(BODY) == b""
    [counted] = {
        line
        for at in (f"{gateway.http}/metrics", f"http://127.0.0.1:{port}/metrics")
        for line in gateway.client.get(at).text.splitlines()
        if line.startswith("llmops_gateway_spans_received_total{")
    }
    assert counted.endswith(" 1.0")
