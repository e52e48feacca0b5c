"""The gateway's settings: a JSON file, overridden by environment variables `SPANMILL_GATEWAY_<NAME>`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from schemas.limits import Limits
from services.shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Times in seconds, sizes in bytes. Port 0 takes any free port."""

    # An error names the setting, not its value, which may be a password.
    model_config = SettingsConfigDict(env_prefix="SPANMILL_GATEWAY_", extra="forbid", hide_input_in_errors=True)

    topic: str = "spans.raw"
    consumer_groups: tuple[str, ...] = ("spanmill-observe",)  # whose lag /metrics tells
    http_host: str = "127.0.0.1"
    http_port: int = 4318
    grpc_host: str = "127.0.0.1"
    grpc_port: int = 4317
    # A listener for scrapers on other machines; without it /metrics answers this machine only.
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    # Owner of requests without a key on a loopback listener; '' makes keys compulsory there too.
    anonymous_org: str = "local"
    key_ttl_s: float = Field(5, gt=0, le=60)  # a revoked key is refused after this
    key_stale_s: float = Field(60, gt=0, le=60)  # the same while the control database does not answer
    inflight_bytes: int = 64 * 2**20
    org_bytes_per_s: int = Field(15 * 2**20, ge=0)  # of one organisation; 0 sets no limit
    org_burst_bytes: int = Field(20 * 2**20, gt=0)
    delivery_timeout_s: float = 8  # below the 10 s after which stock exporters give up on a request
    guard_dir: Path | None = None  # the folder of the log, where it is on this machine
    min_free_bytes: int = 256 * 2**20
    header_timeout_s: float = 10
    body_timeout_s: float = 60
    idle_timeout_s: float = 60
    max_connections: int = 1_000
    cors_origins: tuple[str, ...] = ()
    limits: Limits = Limits()
