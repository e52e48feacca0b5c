"""What went wrong: class or code, then the message, of spans that failed."""

import numpy as np
import polars as pl

from transforms.normalise.conditions import Known
from transforms.normalise.fields import read_text
from transforms.normalise.reading import Reading

_LONGEST = 1_000  # characters of a message; the rest stays in the span's events
ERROR = 2  # STATUS_CODE_ERROR, opentelemetry/proto/trace/v1/trace.proto


def read_error(reading: Reading, known: Known) -> pl.Series:
    """String: class and message of each failed span (status ERROR), `Class: message`; '' for the others.

    The class is `error.type` or that of the first `exception` event, the message the status's or the exception's.
    """
    failed = np.flatnonzero((reading.spans["status_code"] == ERROR).to_numpy())
    error = pl.repeat("", reading.rows, dtype=pl.String, eager=True)
    if len(failed) == 0:
        return error
    columns = {
        "type": read_text(reading, "error_type", known),
        "thrown": _exception(reading, "exception.type"),
        "message": reading.spans["status_message"].replace("", None),
        "said": read_text(reading, "error_message", known),
        "raised": _exception(reading, "exception.message"),
    }
    parts = pl.DataFrame({name: column.gather(failed) for name, column in columns.items()})
    kind, text = pl.coalesce("type", "thrown").fill_null(""), pl.coalesce("message", "said", "raised").fill_null("")
    # some libraries put the whole stack trace into the message
    text = text.str.replace(r"(?s)(.)\s*Traceback \(most recent call last\).*", "$1").str.slice(0, _LONGEST)
    # a message often opens with the class, without its module
    repeats = (kind == "") | text.str.starts_with(kind.str.split(".").list.last())
    joined = pl.when(text == "").then(kind).when(repeats).then(text).otherwise(kind + ": " + text)
    return error.scatter(failed, parts.select(joined).to_series())


def _exception(reading: Reading, key: str) -> pl.Series:
    """The attribute `key` of each span's first `exception` event, NULL where there is none."""
    events = reading.events
    found = np.full(reading.rows, -1, np.int64)
    thrown = np.flatnonzero((events.name == "exception").fill_null(False).to_numpy())[::-1]
    found[events.span[thrown]] = events.attributes.first([key])[thrown]
    return events.attributes.texts_at(found)
