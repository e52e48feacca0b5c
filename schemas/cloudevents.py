"""CloudEvents 1.0 in Kafka's binary mode: the attributes are headers of the record, the data its value.

Source: CloudEvents "Kafka Protocol Binding" 1.0.2, section 3.2.
"""

from datetime import UTC, datetime

Headers = list[tuple[str, str | bytes | None]]


def headers(id_: str, source: str, type_: str, subject: str, time: int) -> Headers:
    """time: UTC ns. The data are JSON."""
    moment = datetime.fromtimestamp(time // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    named = {"specversion": "1.0", "id": id_, "source": source, "type": type_, "subject": subject, "time": moment}
    made: Headers = [(f"ce_{name}", text.encode()) for name, text in named.items()]
    return [("content-type", b"application/json"), *made]
