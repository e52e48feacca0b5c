"""The notifier's settings: a JSON file, overridden by environment variables `SPANMILL_ALERTS_<NAME>`."""

from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from schemas.topics import ALERTS, BUDGET_EVENTS
from services.shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Times in seconds."""

    # An error names the setting, not its value, which may be a password.
    model_config = SettingsConfigDict(env_prefix="SPANMILL_ALERTS_", extra="forbid", hide_input_in_errors=True)

    topics: tuple[str, ...] = (ALERTS.name, BUDGET_EVENTS.name)
    group: str = "spanmill-alerts"
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 9464
    external_url: str = ""  # where people look; generatorURL and externalURL of what is sent
    # Networks that are not public and may be notified all the same, as 127.0.0.0/8 or 10.1.0.0/16.
    allow_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    # Hosts of chats that an operator runs; without them chats are those of the schemes in chat.py.
    chat_hosts: tuple[str, ...] = ()
    smtp_host: str = ""  # without it no e-mail is sent
    smtp_port: int = 587
    smtp_mode: Literal["starttls", "ssl", "insecure"] = "starttls"
    smtp_user: str = ""
    smtp_password: str = Field(default="", repr=False)
    smtp_from: str = "spanmill@localhost"
    timeout_s: float = Field(5, gt=0, le=60)  # of one delivery
    resend_s: float = Field(60, gt=0)  # how often a firing incident is said again to an Alertmanager
    retry_s: float = Field(5, gt=0)  # the first pause after a failure; 1.5 times as long each time, up to retry_most_s
    retry_most_s: float = Field(30, gt=0)
    give_up_s: float = Field(86_400, gt=0)
