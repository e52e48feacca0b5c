"""Redact the texts in an encoded request, so that a dead letter holds no private data and can still be replayed."""

from typing import Any

import polars as pl
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from transforms.otlp.signals import LOGS, TRACES
from transforms.redact.texts import redact_text


def redact_request(body: bytes, signal: str) -> bytes:
    """`body` with every string in it redacted, encoded again; `signal` is traces or logs.

    Bytes that are no valid request come back as text with the undecodable parts replaced (U+FFFD) and the rest
    redacted: nobody can replay them anyway.
    """
    request = (LOGS if signal == LOGS.name else TRACES).request()
    try:
        request.ParseFromString(body)
    except DecodeError:
        return _redacted([body.decode(errors="replace")])[0].encode()
    places = list(_strings(request))
    for (message, name, at), text in zip(places, _redacted([_get(*place) for place in places]), strict=True):
        if at is None:
            setattr(message, name, text)
        else:
            getattr(message, name)[at] = text
    return request.SerializeToString()


def _redacted(texts: list[str]) -> list[str]:
    values = pl.Series(texts, dtype=pl.String)
    return redact_text(values, pl.Series([True]).new_from_index(0, len(values))).to_list()


def _strings(message: Message):
    """(message, field name, index or None) of every string that is set in `message`, at any depth."""
    pending = [message]
    while pending:
        current = pending.pop()
        for field, value in current.ListFields():
            repeated = not isinstance(value, (Message, str))
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                pending += value if repeated else [value]
            elif field.type == FieldDescriptor.TYPE_STRING:
                yield from ((current, field.name, at) for at in (range(len(value)) if repeated else (None,)))


def _get(message: Any, name: str, at: int | None) -> str:
    value = getattr(message, name)
    return value if at is None else value[at]
