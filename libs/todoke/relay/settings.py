"""Settings of a process: environment variables `TODOKE_…`, or the state file that the embedded engines leave."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from todoke.relay.limits import Limits


class S3Settings(BaseModel):
    """Where the bundles lie."""

    model_config = ConfigDict(frozen=True)

    endpoint: str
    access_key: str
    secret_key: SecretStr
    bucket: str = "todoke"
    region: str = "us-east-1"


class MailSettings(BaseModel):
    """The SMTP server that sends our mail; without a host none is sent and the service says so."""

    model_config = ConfigDict(frozen=True)

    host: str | None = None
    port: int = 25
    sender: str = "todoke@example.jp"
    username: str | None = None
    password: SecretStr | None = None
    starttls: bool = False


class PortalSettings(BaseModel):
    """What the portal says of whoever runs it, and how long its sessions last.

    `api` and `operator_api` are where it reaches the public API and the operators' (None: `address`, and the port
    after it). `operator` is the name beside 運営, `helpdesk` what is written at the foot of the login, `support_url`
    the site of questions and answers, `billing_url` that of the national billing system, `terms_url` the terms of use
    that an applying office agrees to; an empty one is left out.
    A session ends `idle_minutes` after its last use; the warning comes `warning_minutes` before that.
    """

    model_config = ConfigDict(frozen=True)

    api: str | None = None
    operator_api: str | None = None
    title: str = "ケアプランデータ連携システム"
    operator: str = "見本県ケアプラン連携センター"
    helpdesk: str = "ヘルプデスク 0000-00-0000（平日 10時～17時）"
    support_url: str = ""
    billing_url: str = ""
    terms_url: str = ""
    idle_minutes: int = Field(default=30, ge=1)
    warning_minutes: int = Field(default=5, ge=1)


class RegistrySettings(BaseModel):
    """How offices are registered and licensed, and what their passwords must be.

    `issuer` signs the letters, `usage_address` is the usage-state site they name (None: below `address`). A licence is
    renewed from `renewal_opens_days` before its last day to `renewal_closes_days` after it. `password_rule` is
    `13-plus` or `legacy-8-16` (8 to 16 characters of ASCII); passwords expire after `password_days` (None: never).
    """

    model_config = ConfigDict(frozen=True)

    issuer: str = "見本県ケアプラン連携センター"
    usage_address: str | None = None
    renewal_opens_days: int = Field(default=90, ge=0, le=365)
    renewal_closes_days: int = Field(default=30, ge=0, le=365)
    password_rule: Literal["13-plus", "legacy-8-16"] = "13-plus"  # noqa: S105 (the name of a rule)
    password_days: int | None = Field(default=None, ge=1)


class Settings(BaseSettings):
    """Everything a service process is told.

    `kafka` is `host:port,…`; `postgres` an administrator's DSN, used for migrations and as the address of the roles;
    `keys` the folder of key files (0700), apart from the data; `listen` the address of this machine that HTTP is served
    on (every interface of a container: `0.0.0.0`); `address` is what the world calls us, and the issuer of tokens.
    `rebuild_records_per_second` is how fast lists are built anew beside the live ones (0: as fast as it goes).
    `clamd` is where a virus scanner listens (`host:port`, or the path of a Unix socket); without it nothing is scanned.
    `log_file` takes the log instead of standard error, kept small, for one process alone. `disk` is a folder on the
    disk that this machine's engines fill: when little is left there, sending is refused until there is room again.
    `webhooks_to_private_addresses` lets webhooks go to this machine and to http (practice and tests only).
    """

    model_config = SettingsConfigDict(env_prefix="TODOKE_", env_nested_delimiter="__", frozen=True, extra="ignore")

    home: Path = Path(".todoke")
    keys: Path = Path(".todoke/keys")
    kafka: str = "127.0.0.1:9092"
    postgres: SecretStr = SecretStr("postgresql://postgres@127.0.0.1:5432/todoke")
    s3: S3Settings
    listen: str = "127.0.0.1"
    address: str = "http://127.0.0.1:8080"
    registry_address: str | None = None
    limits: Limits = Field(default_factory=Limits)
    mail: MailSettings = Field(default_factory=MailSettings)
    registry: RegistrySettings = Field(default_factory=RegistrySettings)
    clamd: str | None = None
    webhooks_to_private_addresses: bool = False
    portal: PortalSettings = Field(default_factory=PortalSettings)
    partitions: int = 6
    replication: int = 1
    rebuild_records_per_second: int = Field(default=2000, ge=0)
    driver: str = "faststream"
    clock_offset_seconds: float = 0
    trusted_front: str | None = None
    instance: str = "1"
    log_level: str = "INFO"
    log_file: Path | None = None
    disk: Path | None = None
    also_ready: tuple[str, ...] = ()
