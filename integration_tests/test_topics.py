"""`spanmill migrate` and the topic of a running product: shown, checked, raised while the job reads it."""

import json

from confluent_kafka import Producer

from cli.exits import Exit
from cli.kafka import Brokers
from integration_tests.ground import HEADERS
from integration_tests.product import spanmill
from integration_tests.traffic import all_files, renamed
from schemas.topics import TOPICS


def migrate(data, *options: str, code: Exit = Exit.DONE):
    done = spanmill("migrate", "--data", str(data), *options)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def topic_rows(data, *options: str) -> list[dict]:
    rows = json.loads(migrate(data, "-o", "json", *options).stdout)
    return [row for row in rows if row["schema"] == "topic"]


def test_migrate_shows_the_topic_and_a_running_job_reads_the_partitions_that_it_is_given(new_product):
    product = new_product()
    running = product.up()
    assert topic_rows(product.data, "--status") == [
        {"schema": "topic", "migration": topic.name, "state": "applied", "note": None} for topic in TOPICS
    ]
    told = migrate(product.data, "--partitions", "2", code=Exit.REFUSED)
    assert "Kafka takes no partition away" in told.stderr
    migrate(product.data, "--partitions", "2", "--dry-run", code=Exit.REFUSED)
    planned = migrate(product.data, "--partitions", "6", "--dry-run").stdout
    assert planned.splitlines()[0] == "-- topic spans.raw: pending 4 partitions become 6"
    assert topic_rows(product.data, "--status", "--partitions", "6")[0]["state"] == "pending"
    log = Brokers(running.broker)
    assert log.partitions("spans.raw") == 4
    # An organisation's budgets have one order, which is that of one partition.
    others = topic_rows(product.data, "--status", "--partitions", "6")[1:]
    assert [row["state"] for row in others] == ["applied"] * (len(TOPICS) - 1)

    bodies = [renamed(path.read_bytes(), "partitions") for path in all_files()]
    producer = Producer(log.client())
    assert topic_rows(product.data, "--partitions", "6")[0]["state"] == "applied"
    for number, body in enumerate(bodies):
        producer.produce("spans.raw", body, partition=number % 6, headers=HEADERS)
    assert producer.flush(30) == 0
    product.caught_up()
    found = product.rows("SELECT partition, count() AS n FROM requests GROUP BY partition ORDER BY partition")
    assert [row["partition"] for row in found] == list(range(6))
    assert sum(row["n"] for row in found) == len(bodies)
    assert product.rows("SELECT count() = uniqExact(trace_id, span_id) AS same FROM spans")[0]["same"]
    assert topic_rows(product.data)[0]["state"] == "applied"
