"""The budget service's settings: a JSON file, overridden by environment variables `SPANMILL_BUDGET_<NAME>`."""

from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from schemas.topics import BUDGET_EVENTS, BUDGET_LOG, BUDGET_REPLIES
from services.shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Times in seconds, sizes in bytes. Port 0 takes any free port."""

    # An error names the setting, not its value, which may be a password.
    model_config = SettingsConfigDict(env_prefix="SPANMILL_BUDGET_", extra="forbid", hide_input_in_errors=True)

    log_topic: str = BUDGET_LOG.name
    replies_topic: str = BUDGET_REPLIES.name
    events_topic: str = BUDGET_EVENTS.name
    http_host: str = "127.0.0.1"
    http_port: int = 4320
    grpc_host: str = "127.0.0.1"
    grpc_port: int = 4319
    # A listener for scrapers on other machines; without it /metrics answers this machine only.
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    # Whose contracts estimates go by; without a store they go by list prices.
    store_url: str = ""
    store_user: str = "default"
    store_password: str = ""
    store_database: str = "spanmill"
    # Owner of requests without a key on a loopback listener; '' makes keys compulsory there too.
    anonymous_org: str = "local"
    key_ttl_s: float = Field(5, gt=0, le=60)  # a revoked key is refused after this
    key_stale_s: float = Field(60, gt=0, le=60)  # the same while the control database does not answer
    # What a reservation that names no policy gets when no decision comes: an error, or leave to go on.
    policy: Literal["closed", "open"] = "closed"
    decision_timeout_s: float = Field(2, gt=0, le=60)  # a caller's deadline that is shorter holds
    limits_poll_s: float = Field(1, gt=0)  # how often the control database is asked for changed budgets
    delivery_timeout_s: float = 5  # a record that is not confirmed by then may yet be in the log
    most_waiting: int = 10_000  # calls whose answer is awaited
    most_watching: int = 1_000  # streams of events
    most_bytes: int = 64 * 2**10  # of a request
    header_timeout_s: float = 10
    body_timeout_s: float = 10
    idle_timeout_s: float = 60
    max_connections: int = 1_000
