"""Receivers of a rules file: where notifications go. What is secret in them is kept apart from the rest."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from transforms.alerts.fields import Fields

MAX_RECEIVERS = 50
_MAIL = re.compile(r"[^@\s,;:<>\"/?#&%]+@[^@\s,;:<>\"/?#&%]+")
_WEB = ("http", "https")


class ReceiverKind(StrEnum):
    WEBHOOK = "webhook"
    ALERTMANAGER = "alertmanager"
    EMAIL = "email"
    CHAT = "chat"


@dataclass(frozen=True)
class Receiver:
    """settings: url for webhook and alertmanager, to for email, scheme for chat. secret: of a webhook the key that
    signs, of a chat its whole URL; never shown."""

    name: str
    kind: ReceiverKind
    settings: Mapping[str, Any]
    secret: str = field(default="", repr=False)


def as_given(one: Receiver) -> dict[str, Any]:
    """`one` as a rules file gives it, with its secret."""
    match one.kind:
        case ReceiverKind.WEBHOOK:
            return {"name": one.name, "webhook": {"url": one.settings["url"], "secret": one.secret}}
        case ReceiverKind.ALERTMANAGER:
            return {"name": one.name, "alertmanager": {"url": one.settings["url"]}}
        case ReceiverKind.EMAIL:
            return {"name": one.name, "email": list(one.settings["to"])}
        case ReceiverKind.CHAT:
            return {"name": one.name, "chat": one.secret}


def read_receivers(given: Any, faults: list[str]) -> tuple[Receiver, ...]:
    """The field `receivers` of a file; what is wrong goes to `faults`."""
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > MAX_RECEIVERS:
        faults.append(f"receivers: must be a list of at most {MAX_RECEIVERS}")
        return ()
    found = [_receiver(Fields(one, f"receivers[{at}]", faults)) for at, one in enumerate(given)]
    names = [one.name for one in found]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        faults.append(f"receivers: there are two of the name {twice!r}: give one of them another name")
    return tuple(found)


def _receiver(fields: Fields) -> Receiver:
    name = fields.name("name")
    kinds = [kind for kind in ReceiverKind if fields.has(kind)]
    if len(kinds) != 1:
        fields.fault("webhook", f"give one of {', '.join(ReceiverKind)}, and one alone")
        return Receiver(name, ReceiverKind.WEBHOOK, {})
    [kind] = kinds
    receiver = _KINDS[kind](fields, name)
    fields.rest()
    return receiver


def _webhook(fields: Fields, name: str) -> Receiver:
    inner = Fields(fields.value("webhook"), f"{fields.where}.webhook", fields.faults)
    url, secret = _url(inner), inner.text("secret")
    if len(secret) < 16:
        inner.fault("secret", "is missing or shorter than 16 characters: the key that signs what is sent")
    inner.rest()
    return Receiver(name, ReceiverKind.WEBHOOK, {"url": url}, secret)


def _alertmanager(fields: Fields, name: str) -> Receiver:
    inner = Fields(fields.value("alertmanager"), f"{fields.where}.alertmanager", fields.faults)
    url = _url(inner)
    inner.rest()
    return Receiver(name, ReceiverKind.ALERTMANAGER, {"url": url})


def _email(fields: Fields, name: str) -> Receiver:
    to = fields.texts("email")
    for one in to:
        if not _MAIL.fullmatch(one):
            fields.fault("email", f"{one!r} is no address: write it as name@example.com")
    return Receiver(name, ReceiverKind.EMAIL, {"to": list(to)})


def _chat(fields: Fields, name: str) -> Receiver:
    url = fields.text("chat")
    scheme = url.partition("://")[0].lower()
    if "://" not in url:
        fields.fault("chat", "is no URL of a chat as apprise writes them, as slack://token-a/token-b/token-c")
    return Receiver(name, ReceiverKind.CHAT, {"scheme": scheme}, url)


_KINDS = {
    ReceiverKind.WEBHOOK: _webhook,
    ReceiverKind.ALERTMANAGER: _alertmanager,
    ReceiverKind.EMAIL: _email,
    ReceiverKind.CHAT: _chat,
}


def _url(fields: Fields) -> str:
    url = fields.text("url", most=2_000)
    try:
        parts = urlsplit(url)
        right = parts.scheme in _WEB and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right or re.search(r"[\x00-\x20\x7f\\]", url):
        fields.fault("url", "is no http:// or https:// URL")
    elif "@" in urlsplit(url).netloc:
        fields.fault("url", "must not hold a user or password")
    return url
