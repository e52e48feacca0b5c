"""How each kind of receiver is told."""

import base64
import hashlib
import hmac
import logging
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

from apprise import Apprise, AppriseAsset

from services.alerts import bodies
from services.alerts.guard import Forbidden
from services.alerts.http import Refused, post
from services.alerts.settings import Settings
from services.control.deliveries import Delivery
from transforms.alerts.receivers import Receiver, ReceiverKind

# Chats whose service has one host, which the scheme names: no URL of theirs leads into a network of one's own.
CHATS = ("slack", "discord", "tgram", "gchat", "pagerduty", "opsgenie", "wxteams", "webex", "pover")

_JSON = {"content-type": "application/json", "user-agent": "spanmill"}
_ASSET = AppriseAsset(app_id="spanmill", app_desc="spanmill", plugin_paths=[], http_redirects=False)
# It writes the URL of what failed, with its secrets.
logging.getLogger("apprise").setLevel(logging.CRITICAL)

Send = Callable[[Delivery, Receiver, Settings, int], None]


def send(delivery: Delivery, receiver: Receiver, settings: Settings, now: int) -> None:
    """Delivers, or raises: guard.Forbidden for good, Refused, guard.Unresolved and OSError for a while. now: UTC ns."""
    _SENDERS[receiver.kind](delivery, receiver, settings, now)


def signature(secret: str, id_: str, timestamp: int, body: bytes) -> str:
    """Of a webhook, as Standard Webhooks has it: HMAC-SHA256 over `id.timestamp.body`, base64, behind `v1,`."""
    signed = f"{id_}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()


def _webhook(delivery: Delivery, receiver: Receiver, settings: Settings, now: int) -> None:
    body, id_, timestamp = bodies.webhook_body(delivery, settings.external_url), _id(delivery), now // 10**9
    signed = signature(receiver.secret, id_, timestamp, body)
    headers = {"webhook-id": id_, "webhook-timestamp": str(timestamp), "webhook-signature": signed}
    post(receiver.settings["url"], body, _JSON | headers, settings.allow_networks, settings.timeout_s)


def _alertmanager(delivery: Delivery, receiver: Receiver, settings: Settings, now: int) -> None:
    over = delivery.state == bodies.RESOLVED
    ends_at = delivery.message["at"] if over else now + int(4 * settings.resend_s * 10**9)
    body = bodies.alertmanager_alerts(delivery, settings.external_url, min(ends_at, now) if over else ends_at)
    url = receiver.settings["url"].rstrip("/") + "/api/v2/alerts"
    post(url, body, _JSON, settings.allow_networks, settings.timeout_s)


def _email(delivery: Delivery, receiver: Receiver, settings: Settings, now: int) -> None:
    if not settings.smtp_host:
        raise Refused("no mail server is set: smtp_host of the notifier's settings")
    account = f"{quote(settings.smtp_user, '')}:{quote(settings.smtp_password, '')}@" if settings.smtp_user else ""
    options = {"smtp": settings.smtp_host, "mode": settings.smtp_mode, "from": settings.smtp_from, "format": "text"}
    options |= {"to": ",".join(receiver.settings["to"])}
    scheme = "mailto" if settings.smtp_mode == "insecure" else "mailtos"
    _apprise(f"{scheme}://{account}{settings.smtp_host}:{settings.smtp_port}", options, delivery, settings)


def _chat(delivery: Delivery, receiver: Receiver, settings: Settings, now: int) -> None:
    parts = urlsplit(receiver.secret)
    if parts.scheme not in CHATS and (parts.hostname or "") not in settings.chat_hosts:
        what = f"{parts.scheme}:// may lead anywhere: one of {', '.join(CHATS)}"
        raise Forbidden(f"{what}, or a host that the operator allows with chat_hosts")
    _apprise(receiver.secret, {}, delivery, settings)


def _apprise(url: str, options: Mapping[str, str], delivery: Delivery, settings: Settings) -> None:
    limits = {"rto": f"{settings.timeout_s}", "cto": f"{settings.timeout_s}", "redirect": "no"}
    query = "&".join(f"{key}={quote(value, '')}" for key, value in {**options, **limits}.items())
    sender = Apprise(asset=_ASSET)
    if not sender.add(f"{url}{'&' if '?' in url else '?'}{query}"):
        raise Forbidden("it is no URL of a chat that can be read")
    if not sender.notify(title=bodies.title(delivery), body=bodies.text(delivery)):
        raise Refused("it was not taken; the notification library does not say why")


def _id(delivery: Delivery) -> str:
    """The same for every try, so that a receiver can tell a repetition."""
    return f"{delivery.incident_id}-{delivery.state}-{delivery.receiver}"


_SENDERS: dict[ReceiverKind, Send] = {
    ReceiverKind.WEBHOOK: _webhook,
    ReceiverKind.ALERTMANAGER: _alertmanager,
    ReceiverKind.EMAIL: _email,
    ReceiverKind.CHAT: _chat,
}
