from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Policy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POLICY_DEFAULT: _ClassVar[Policy]
    POLICY_CLOSED: _ClassVar[Policy]
    POLICY_OPEN: _ClassVar[Policy]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_ACCEPTED: _ClassVar[Outcome]
    OUTCOME_REFUSED: _ClassVar[Outcome]
    OUTCOME_ALREADY_EXISTS_WITH_DIFFERENT_CONTENT: _ClassVar[Outcome]
    OUTCOME_ALREADY_SETTLED: _ClassVar[Outcome]
    OUTCOME_ALREADY_RELEASED: _ClassVar[Outcome]
    OUTCOME_ALREADY_CHARGED: _ClassVar[Outcome]
    OUTCOME_EXPIRED: _ClassVar[Outcome]
    OUTCOME_NOT_FOUND: _ClassVar[Outcome]
    OUTCOME_INVALID: _ClassVar[Outcome]
    OUTCOME_AMOUNT_UNKNOWN: _ClassVar[Outcome]
    OUTCOME_UNKNOWN_KEY: _ClassVar[Outcome]

class Unit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNIT_UNSPECIFIED: _ClassVar[Unit]
    UNIT_NANO_DOLLARS: _ClassVar[Unit]
    UNIT_TOKENS: _ClassVar[Unit]

class Window(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WINDOW_UNSPECIFIED: _ClassVar[Window]
    WINDOW_DAY: _ClassVar[Window]
    WINDOW_WEEK: _ClassVar[Window]
    WINDOW_MONTH: _ClassVar[Window]
    WINDOW_TOTAL: _ClassVar[Window]
POLICY_DEFAULT: Policy
POLICY_CLOSED: Policy
POLICY_OPEN: Policy
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_ACCEPTED: Outcome
OUTCOME_REFUSED: Outcome
OUTCOME_ALREADY_EXISTS_WITH_DIFFERENT_CONTENT: Outcome
OUTCOME_ALREADY_SETTLED: Outcome
OUTCOME_ALREADY_RELEASED: Outcome
OUTCOME_ALREADY_CHARGED: Outcome
OUTCOME_EXPIRED: Outcome
OUTCOME_NOT_FOUND: Outcome
OUTCOME_INVALID: Outcome
OUTCOME_AMOUNT_UNKNOWN: Outcome
OUTCOME_UNKNOWN_KEY: Outcome
UNIT_UNSPECIFIED: Unit
UNIT_NANO_DOLLARS: Unit
UNIT_TOKENS: Unit
WINDOW_UNSPECIFIED: Window
WINDOW_DAY: Window
WINDOW_WEEK: Window
WINDOW_MONTH: Window
WINDOW_TOTAL: Window

class ReserveRequest(_message.Message):
    __slots__ = ("request_id", "key_id", "cost_nano", "max_input_tokens", "max_output_tokens", "provider", "model", "ttl_s", "policy")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_FIELD_NUMBER: _ClassVar[int]
    MAX_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    key_id: str
    cost_nano: int
    max_input_tokens: int
    max_output_tokens: int
    provider: str
    model: str
    ttl_s: int
    policy: Policy
    def __init__(self, request_id: _Optional[str] = ..., key_id: _Optional[str] = ..., cost_nano: _Optional[int] = ..., max_input_tokens: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., provider: _Optional[str] = ..., model: _Optional[str] = ..., ttl_s: _Optional[int] = ..., policy: _Optional[_Union[Policy, str]] = ...) -> None: ...

class SettleRequest(_message.Message):
    __slots__ = ("request_id", "cost_nano", "input_tokens", "output_tokens", "provider", "model", "response_id", "charge_without_reservation", "key_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    CHARGE_WITHOUT_RESERVATION_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    cost_nano: int
    input_tokens: int
    output_tokens: int
    provider: str
    model: str
    response_id: str
    charge_without_reservation: bool
    key_id: str
    def __init__(self, request_id: _Optional[str] = ..., cost_nano: _Optional[int] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., provider: _Optional[str] = ..., model: _Optional[str] = ..., response_id: _Optional[str] = ..., charge_without_reservation: bool = ..., key_id: _Optional[str] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class ExtendRequest(_message.Message):
    __slots__ = ("request_id", "ttl_s")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    ttl_s: int
    def __init__(self, request_id: _Optional[str] = ..., ttl_s: _Optional[int] = ...) -> None: ...

class BalanceRequest(_message.Message):
    __slots__ = ("key_id", "team", "all")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    TEAM_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    team: str
    all: bool
    def __init__(self, key_id: _Optional[str] = ..., team: _Optional[str] = ..., all: bool = ...) -> None: ...

class WatchEventsRequest(_message.Message):
    __slots__ = ("after_event_id",)
    AFTER_EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    after_event_id: str
    def __init__(self, after_event_id: _Optional[str] = ...) -> None: ...

class BudgetStatus(_message.Message):
    __slots__ = ("budget_id", "name", "unit", "hard", "limit", "spent", "pending", "available", "requested", "window", "time_zone", "window_start", "resets_at", "team", "key_id", "provider", "model")
    BUDGET_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    HARD_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_START_FIELD_NUMBER: _ClassVar[int]
    RESETS_AT_FIELD_NUMBER: _ClassVar[int]
    TEAM_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    budget_id: str
    name: str
    unit: Unit
    hard: bool
    limit: int
    spent: int
    pending: int
    available: int
    requested: int
    window: Window
    time_zone: str
    window_start: int
    resets_at: int
    team: str
    key_id: str
    provider: str
    model: str
    def __init__(self, budget_id: _Optional[str] = ..., name: _Optional[str] = ..., unit: _Optional[_Union[Unit, str]] = ..., hard: bool = ..., limit: _Optional[int] = ..., spent: _Optional[int] = ..., pending: _Optional[int] = ..., available: _Optional[int] = ..., requested: _Optional[int] = ..., window: _Optional[_Union[Window, str]] = ..., time_zone: _Optional[str] = ..., window_start: _Optional[int] = ..., resets_at: _Optional[int] = ..., team: _Optional[str] = ..., key_id: _Optional[str] = ..., provider: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("request_id", "event_id", "outcome", "message", "refusals", "warnings", "balances", "expires_at", "settled_nano", "settled_tokens", "overrun_nano", "overrun_tokens", "settled_after_expiry", "not_decided", "partition", "offset", "first_offset", "time")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    BALANCES_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    SETTLED_NANO_FIELD_NUMBER: _ClassVar[int]
    SETTLED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OVERRUN_NANO_FIELD_NUMBER: _ClassVar[int]
    OVERRUN_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SETTLED_AFTER_EXPIRY_FIELD_NUMBER: _ClassVar[int]
    NOT_DECIDED_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    FIRST_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    event_id: str
    outcome: Outcome
    message: str
    refusals: _containers.RepeatedCompositeFieldContainer[BudgetStatus]
    warnings: _containers.RepeatedCompositeFieldContainer[BudgetStatus]
    balances: _containers.RepeatedCompositeFieldContainer[BudgetStatus]
    expires_at: int
    settled_nano: int
    settled_tokens: int
    overrun_nano: int
    overrun_tokens: int
    settled_after_expiry: bool
    not_decided: bool
    partition: int
    offset: int
    first_offset: int
    time: int
    def __init__(self, request_id: _Optional[str] = ..., event_id: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., message: _Optional[str] = ..., refusals: _Optional[_Iterable[_Union[BudgetStatus, _Mapping]]] = ..., warnings: _Optional[_Iterable[_Union[BudgetStatus, _Mapping]]] = ..., balances: _Optional[_Iterable[_Union[BudgetStatus, _Mapping]]] = ..., expires_at: _Optional[int] = ..., settled_nano: _Optional[int] = ..., settled_tokens: _Optional[int] = ..., overrun_nano: _Optional[int] = ..., overrun_tokens: _Optional[int] = ..., settled_after_expiry: bool = ..., not_decided: bool = ..., partition: _Optional[int] = ..., offset: _Optional[int] = ..., first_offset: _Optional[int] = ..., time: _Optional[int] = ...) -> None: ...

class BudgetEvent(_message.Message):
    __slots__ = ("event_id", "org", "kind", "time", "threshold", "budget", "request_id")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ORG_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    org: str
    kind: str
    time: int
    threshold: int
    budget: BudgetStatus
    request_id: str
    def __init__(self, event_id: _Optional[str] = ..., org: _Optional[str] = ..., kind: _Optional[str] = ..., time: _Optional[int] = ..., threshold: _Optional[int] = ..., budget: _Optional[_Union[BudgetStatus, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class EventBatch(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("org", "event_id", "reserve", "settle", "release", "extend", "balance", "charges", "limits", "tick")
    ORG_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    SETTLE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    EXTEND_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    CHARGES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    TICK_FIELD_NUMBER: _ClassVar[int]
    org: str
    event_id: str
    reserve: Reserve
    settle: Settle
    release: Release
    extend: Extend
    balance: Balance
    charges: Charges
    limits: Limits
    tick: Tick
    def __init__(self, org: _Optional[str] = ..., event_id: _Optional[str] = ..., reserve: _Optional[_Union[Reserve, _Mapping]] = ..., settle: _Optional[_Union[Settle, _Mapping]] = ..., release: _Optional[_Union[Release, _Mapping]] = ..., extend: _Optional[_Union[Extend, _Mapping]] = ..., balance: _Optional[_Union[Balance, _Mapping]] = ..., charges: _Optional[_Union[Charges, _Mapping]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., tick: _Optional[_Union[Tick, _Mapping]] = ...) -> None: ...

class Owner(_message.Message):
    __slots__ = ("team", "key_id", "provider", "model")
    TEAM_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    team: str
    key_id: str
    provider: str
    model: str
    def __init__(self, team: _Optional[str] = ..., key_id: _Optional[str] = ..., provider: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class Reserve(_message.Message):
    __slots__ = ("request_id", "owner", "cost_nano", "tokens", "ttl_s", "fingerprint")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    owner: Owner
    cost_nano: int
    tokens: int
    ttl_s: int
    fingerprint: bytes
    def __init__(self, request_id: _Optional[str] = ..., owner: _Optional[_Union[Owner, _Mapping]] = ..., cost_nano: _Optional[int] = ..., tokens: _Optional[int] = ..., ttl_s: _Optional[int] = ..., fingerprint: _Optional[bytes] = ...) -> None: ...

class Settle(_message.Message):
    __slots__ = ("request_id", "cost_nano", "tokens", "response_id", "charge_without_reservation", "owner", "fingerprint")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_ID_FIELD_NUMBER: _ClassVar[int]
    CHARGE_WITHOUT_RESERVATION_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    cost_nano: int
    tokens: int
    response_id: str
    charge_without_reservation: bool
    owner: Owner
    fingerprint: bytes
    def __init__(self, request_id: _Optional[str] = ..., cost_nano: _Optional[int] = ..., tokens: _Optional[int] = ..., response_id: _Optional[str] = ..., charge_without_reservation: bool = ..., owner: _Optional[_Union[Owner, _Mapping]] = ..., fingerprint: _Optional[bytes] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class Extend(_message.Message):
    __slots__ = ("request_id", "ttl_s")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_S_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    ttl_s: int
    def __init__(self, request_id: _Optional[str] = ..., ttl_s: _Optional[int] = ...) -> None: ...

class Balance(_message.Message):
    __slots__ = ("request_id", "team", "key_id", "all")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TEAM_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    team: str
    key_id: str
    all: bool
    def __init__(self, request_id: _Optional[str] = ..., team: _Optional[str] = ..., key_id: _Optional[str] = ..., all: bool = ...) -> None: ...

class Charges(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: bytes
    def __init__(self, rows: _Optional[bytes] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("revision", "budgets")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    budgets: _containers.RepeatedCompositeFieldContainer[Budget]
    def __init__(self, revision: _Optional[int] = ..., budgets: _Optional[_Iterable[_Union[Budget, _Mapping]]] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("budget_id", "name", "team", "key_id", "provider", "model", "window", "time_zone", "unit", "limit", "hard", "thresholds", "effective_from", "effective_to")
    BUDGET_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEAM_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    HARD_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_FROM_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_TO_FIELD_NUMBER: _ClassVar[int]
    budget_id: str
    name: str
    team: str
    key_id: str
    provider: str
    model: str
    window: Window
    time_zone: str
    unit: Unit
    limit: int
    hard: bool
    thresholds: _containers.RepeatedScalarFieldContainer[int]
    effective_from: int
    effective_to: int
    def __init__(self, budget_id: _Optional[str] = ..., name: _Optional[str] = ..., team: _Optional[str] = ..., key_id: _Optional[str] = ..., provider: _Optional[str] = ..., model: _Optional[str] = ..., window: _Optional[_Union[Window, str]] = ..., time_zone: _Optional[str] = ..., unit: _Optional[_Union[Unit, str]] = ..., limit: _Optional[int] = ..., hard: bool = ..., thresholds: _Optional[_Iterable[int]] = ..., effective_from: _Optional[int] = ..., effective_to: _Optional[int] = ...) -> None: ...

class Tick(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
