"""The one dead-letter shape: what was refused, where, why, and the bytes to send it again."""

from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from schemas.arrow import DEAD_LETTERS
from transforms.redact.request import redact_request
from transforms.redact.texts import redact_text

MESSAGE_BYTES = 1_000


@dataclass(frozen=True)
class Refused:
    """One refused item: its record (row of the raw table), its position there (-1: the whole record), and why.

    raw: a request that holds just this item. error: a class-like name. message: the reason in words.
    """

    row: int
    position: int
    raw: bytes
    error: str
    message: str


def dead_letters(raw: pa.Table, refused: list[Refused], step: str, code_version: str) -> pa.Table:
    """Rows of DEAD_LETTERS in the order of `refused`; `raw` has the schema RAW.

    Where the organisation wants redaction, the texts in the bytes and in the message are redacted.
    """
    if not refused:
        return DEAD_LETTERS.empty_table()
    rows = raw.take(pa.array([item.row for item in refused]))
    redact = [wanted is not False for wanted in rows["redact"].to_pylist()]
    messages = pl.Series([item.message[:MESSAGE_BYTES] for item in refused], dtype=pl.String)
    columns = {
        "org": rows["org"].fill_null(""),
        "team": rows["team"].fill_null(""),
        "key_id": rows["key_id"].fill_null(""),
        "received_at": rows["received_at"].fill_null(0),
        "step": [step] * len(refused),
        "error": [item.error for item in refused],
        "message": redact_text(messages, pl.Series(redact)).to_arrow(),
        "topic": rows["topic"],
        "partition": rows["partition"],
        "offset": rows["offset"],
        "position": [item.position for item in refused],
        "raw": [
            redact_request(item.raw, signal) if wanted else item.raw
            for item, wanted, signal in zip(refused, redact, rows["signal"].to_pylist(), strict=True)
        ],
        "code_version": [code_version] * len(refused),
    }
    return pa.table(columns).cast(DEAD_LETTERS)
