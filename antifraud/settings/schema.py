"""What may stand in config/: every key with its type, bounds, built-in default and a line of explanation.

These structures are the one source of the checks, of the JSON schema that editors use, and of the built-in defaults
(those of ``config/default.yaml`` say the same and are kept equal by a test).

msgspec carries them because the event structures need it anyway: importing pydantic alone costs more than reading
and checking all of config/ does.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from antifraud.settings.sizes import SIZE, parse_size

REGION_CODE: Final = r"^[A-Z]{2}-[A-Z0-9]{1,3}\Z"
SIP_URI: Final = (
    r"^sips?:([A-Za-z0-9_.!~*'()&=+$/%-]{1,64}@)?[A-Za-z0-9.:\[\]-]{1,120}(;[A-Za-z0-9_.=+%-]{1,64}){0,8}\Z"
)
TOPIC: Final = r"^[^/+#\x00-\x20$][^+#\x00-\x20]{0,119}\Z"
REDIS_URL: Final = r"^((rediss?|unix)://[^\s\x00-\x1f]{1,500})?\Z"
MQTT_URL: Final = r"^(mqtts?://[^\s\x00-\x1f]{1,500})?\Z"
NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"
#: As ``antifraud.decision.desks.HOURS``, which is not imported: checking configuration must not wait for it.
HOURS: Final = (
    r"^(daily|(mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun)|(,(mon|tue|wed|thu|fri|sat|sun)){0,6}))"
    r" ([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\Z"
)
TRUNK_PATTERN: Final = r"^[\x21-\x7e]{1,64}\Z"
RULE_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,79}\Z"
PATH: Final = r"^[^\x00-\x1f]{1,1024}\Z"
#: Nothing, or a host (a name, an address, an IPv6 address in brackets) and a port from 0 to 65535.
LISTEN: Final = (
    r"^((\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})"
    r":(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4}))?\Z"
)
HTTPS: Final = r"^https://[A-Za-z0-9.-]{1,120}(:[0-9]{1,5})?(/[A-Za-z0-9._~/?&=%-]{0,240})?\Z"
E164: Final = r"^\+[1-9][0-9]{6,14}\Z"
EMAIL: Final = r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,120}\Z"
LEAST_MEMORY: Final = 64 << 20
MOST_MEMORY: Final = 64 << 30


def _meta(about: str, words: str = "") -> Meta:
    return Meta(description=about, extra={"words": words} if words else None)


RegionCode = Annotated[
    str, Meta(pattern=REGION_CODE, max_length=6, extra={"words": "an ISO 3166-2 code such as KZ-75"})
]
Name = Annotated[str, Meta(pattern=NAME, extra={"words": "a name of letters, digits, dot, dash and underscore"})]
SipUri = Annotated[str, Meta(pattern=SIP_URI, max_length=300)]
Directory = Annotated[str, Meta(pattern=PATH)]
Score = Annotated[float, Meta(ge=0.0, le=1.0)]
Language = Literal["en", "kk", "ru"]
CeilingWord = Literal["off", "shadow", "label", "challenge", "divert", "block"]
TrunkClass = Literal["international", "national", "subscriber", "desk"]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping in which only the declared keys may stand."""


class RedisSettings(_Section, frozen=True):
    """The Redis that carries the log."""

    url: Annotated[
        str,
        Meta(
            pattern=REDIS_URL,
            description='redis://host:6379/0, rediss://… or unix:///path; "" starts a private one (REDIS_URL sets it)',
            extra={"words": 'a Redis address such as redis://host:6379/0, or ""'},
        ),
    ] = ""
    socket_timeout_s: Annotated[
        float, Meta(ge=0.05, le=60.0, description="seconds after which a silent Redis counts as gone")
    ] = 2.0


class EngineSettings(_Section, frozen=True):
    """How one engine runs."""

    max_batch: Annotated[int, Meta(ge=1, le=10_000, description="events decided in one go, at most")] = 512
    snapshot_every_s: Annotated[
        float, Meta(ge=1.0, le=86_400.0, description="seconds between two snapshots of the windows")
    ] = 60.0
    snapshot_dir: Annotated[
        Directory | None,
        _meta(
            "where snapshots lie; null is snapshots/ in the state directory of the service or of the user",
            "a directory or null",
        ),
    ] = None
    warm_up_s: Annotated[
        float,
        Meta(
            ge=0.0,
            le=2_678_400.0,
            description="seconds after the first call that an engine ever saw, and after the first from each switch, "
            "in which the score asks for no more than a label: whom it does not know yet may be an old subscriber",
        ),
    ] = 86_400.0
    retention_h: Annotated[
        float, Meta(ge=0.1, le=2_400.0, description="hours that the streams in Redis are kept before they are trimmed")
    ] = 48.0
    lease_s: Annotated[
        float, Meta(ge=0.5, le=300.0, description="seconds after which a standby engine takes over from a silent one")
    ] = 3.0
    feedback: Annotated[
        bool,
        _meta(
            "whether the engine writes into the log which calls full enforcement would have stopped, for windows that "
            "count them"
        ),
    ] = True
    watch_rules_s: Annotated[
        float,
        Meta(
            ge=0.0,
            le=3_600.0,
            description="seconds between two looks at the rules directory; what changed is taken once nothing has "
            "changed for so long; 0 takes it only when told to reload",
        ),
    ] = 2.0
    tick_s: Annotated[
        float,
        Meta(ge=0.2, le=60.0, description="seconds between two looks of the rules `on: tick` at a call in progress"),
    ] = 10.0


class FeatureSettings(_Section, frozen=True):
    """What the engine remembers of the past: the windows over callers, callees, trunks and the like."""

    memory_limit: Annotated[
        Annotated[str, Meta(pattern=SIZE)] | Annotated[int, Meta(ge=LEAST_MEMORY, le=MOST_MEMORY)],
        Meta(
            description="memory that the windows may take; when it is full what was idle for longest is forgotten",
            extra={
                "words": "a size from 64MiB to 64GiB, such as 1GiB, 512MiB or 6GB, or a number of bytes",
                "hint": "write a number and a unit: 1GiB is 1024MiB, 1GB is 1000MB",
            },
        ),
    ] = "1GiB"

    @property
    def memory_bytes(self) -> int:
        """``memory_limit`` in bytes."""
        bytes_ = parse_size(self.memory_limit)
        assert bytes_ is not None, "the pattern lets only sizes pass"
        return bytes_


class MetricsSettings(_Section, frozen=True):
    """Figures of the engine for Prometheus."""

    listen: Annotated[
        str,
        Meta(
            pattern=LISTEN,
            description='address and port on which the engine answers GET /metrics; "" serves nothing',
            extra={"words": 'an address and a port such as 127.0.0.1:9464, or ""'},
        ),
    ] = ""


class JournalSettings(_Section, frozen=True):
    """The record of decisions as Parquet files."""

    directory: Annotated[
        Directory | None,
        _meta("where the files lie; null is journal/ in the state directory", "a directory or null"),
    ] = None
    roll_rows: Annotated[int, Meta(ge=1, le=1_000_000, description="decisions after which a file is closed")] = 50_000
    roll_bytes: Annotated[
        int, Meta(ge=1_024, le=1_073_741_824, description="bytes of decisions, before compression, that close a file")
    ] = 33_554_432
    roll_s: Annotated[float, Meta(ge=0.05, le=86_400.0, description="seconds after which a file is closed anyway")] = (
        60.0
    )
    consumer: Annotated[
        Name | None,
        _meta("this reader's name in the consumer group; null is the machine's name", "a name or null"),
    ] = None


class AlertSettings(_Section, frozen=True):
    """Alerts by MQTT, one message for every decision that is not allow under full enforcement."""

    url: Annotated[
        str,
        Meta(
            pattern=MQTT_URL,
            description='mqtt://host:1883 or mqtts://host:8883; "" is no alerts',
            extra={"words": 'a broker address such as mqtt://host:1883, or ""'},
        ),
    ] = ""
    topic_prefix: Annotated[
        str,
        Meta(
            pattern=TOPIC,
            description="alerts go to <topic_prefix>/<shard>/<region>/<verdict>",
            extra={"words": "a topic without spaces, + and # and without a / or $ at its beginning"},
        ),
    ] = "antifraud"
    password_file: Annotated[
        Directory | None,
        _meta("file that holds the broker's password, so that it need not stand in the address", "a file or null"),
    ] = None
    ca_file: Annotated[
        Directory | None,
        _meta("certificate authority of an mqtts broker; null trusts those of the system", "a file or null"),
    ] = None
    consumer: Annotated[
        Name | None,
        _meta("this reader's name in the consumer group; null is the machine's name", "a name or null"),
    ] = None
    max_inflight: Annotated[
        int, Meta(ge=1, le=1_000, description="messages sent and not yet confirmed by the broker, at most")
    ] = 16
    timeout_s: Annotated[
        float, Meta(ge=0.1, le=300.0, description="seconds after which a silent broker counts as gone")
    ] = 10.0


class CardSettings(_Section, frozen=True):
    """Call cards for the desk over HTTP."""

    listen: Annotated[
        str,
        Meta(
            pattern=LISTEN,
            description='address and port on which call cards are served; "" serves none',
            extra={"words": 'an address and a port such as 127.0.0.1:8470, or ""'},
        ),
    ] = ""
    token_file: Annotated[
        Directory | None,
        _meta("file of the tokens that let a desk in, one a line; without one nothing is served", "a file or null"),
    ] = None
    certificate: Annotated[
        Directory | None,
        _meta("file of the TLS certificate (PEM); null serves without TLS", "a file or null"),
    ] = None
    key: Annotated[Directory | None, _meta("file of the certificate's key (PEM)", "a file or null")] = None
    cases: Annotated[
        int, Meta(ge=1_000, le=2_000_000, description="cases held in memory, at most; older ones are in the journal")
    ] = 200_000


class ThresholdSettings(_Section, frozen=True):
    """Scores from which on the model asks for a verdict; null takes the model's own certified thresholds."""

    label: Annotated[Score | None, _meta("score from which on a call is labelled", "a number from 0 to 1 or null")] = (
        None
    )
    challenge: Annotated[
        Score | None, _meta("score from which on a caller is challenged", "a number from 0 to 1 or null")
    ] = None
    divert: Annotated[
        Score | None, _meta("score from which on a call is diverted to the desk", "a number from 0 to 1 or null")
    ] = None
    block: Annotated[Score | None, _meta("score from which on a call is blocked", "a number from 0 to 1 or null")] = (
        None
    )
    within_certificate: Annotated[
        bool,
        _meta(
            "whether the thresholds here only make the certified ones stricter; false lets them be milder, without any "
            "promise about honest calls"
        ),
    ] = True


class DeskSettings(_Section, frozen=True):
    """The humans who take diverted calls."""

    target: Annotated[
        SipUri | None,
        _meta(
            "SIP URI of the desk; without one a diversion becomes a label",
            "a SIP URI such as sip:desk@desk.example, or null",
        ),
    ] = None
    queues: Annotated[
        tuple[Name, ...],
        _meta(
            "desks of the section desks in the order in which they are asked for a place; takes the place of target",
            "a list of names of desks, such as [astana, almaty]",
        ),
    ] = ()
    overflow: Annotated[
        Literal["challenge", "label", "allow", "block"],
        _meta(
            "what becomes of a call that none of the queues has a place for: challenge, label, allow or block",
            "one of challenge, label, allow, block",
        ),
    ] = "label"


class DeskDeclaration(_Section, frozen=True):
    """One desk: people who take diverted calls, and how many of them."""

    target: Annotated[SipUri, _meta("SIP URI of the desk", "a SIP URI such as sip:desk@desk.example")]
    languages: Annotated[
        tuple[Language, ...],
        _meta("languages that are spoken there; a region's own is asked first, none is all", "a list of en, kk, ru"),
    ] = ()
    hours: Annotated[
        tuple[
            Annotated[
                str,
                Meta(
                    pattern=HOURS,
                    extra={
                        "words": 'hours such as "mon-fri 08:00-20:00"',
                        "hint": 'write days and times of the shard\'s local time: "mon-fri 08:00-20:00", "sat,sun '
                        '10:00-16:00" or "daily 00:00-24:00"',
                    },
                ),
            ],
            ...,
        ],
        _meta("when somebody is there; none is always", 'a list of hours such as "mon-fri 08:00-20:00"'),
    ] = ()
    calls: Annotated[int, Meta(ge=0, le=10_000, description="calls at once; 0 with queue 0 is as many as come")] = 0
    queue: Annotated[int, Meta(ge=0, le=10_000, description="calls that may wait")] = 0
    hold_s: Annotated[
        float, Meta(ge=10.0, le=86_400.0, description="seconds after which a place is free though no release came")
    ] = 900.0
    silent_s: Annotated[
        float,
        Meta(
            ge=0.0,
            le=3_600.0,
            description="seconds after which a desk that says nothing of itself counts as closed; 0 waits for no word",
        ),
    ] = 0.0
    one_caller: Annotated[
        int, Meta(ge=0, le=10_000, description="places that the calls of one number may have at a time; 0 is all")
    ] = 0


class ChallengeSettings(_Section, frozen=True):
    """The announcement machine that asks a caller to prove that it is a person."""

    target: Annotated[
        SipUri | None,
        _meta(
            "SIP URI of the machine that asks callers for a digit; without one a challenge becomes a label",
            "a SIP URI such as sip:challenge@desk.example, or null",
        ),
    ] = None


class BlockSettings(_Section, frozen=True):
    """How a blocked call is refused."""

    code: Annotated[
        Literal[403, 480, 486, 600, 603, 608],
        _meta(
            "SIP status of a refusal: 608 says that an automaton refused (RFC 8688), 603 is the older Decline",
            "one of 403, 480, 486, 600, 603, 608",
        ),
    ] = 608


_DIALECT: Final = "the name of a dialect in dialects.yaml, or null"
RuleId = Annotated[str, Meta(pattern=RULE_ID, extra={"words": "the id of a rule"})]
HttpsUrl = Annotated[str, Meta(pattern=HTTPS)]


class DialectSettings(_Section, frozen=True):
    """How verdicts are said to the switches of a region: names of dialects in dialects.yaml."""

    block: Annotated[
        Name | None, _meta("dialect of a refusal; null takes the plain one of policy.block.code", _DIALECT)
    ] = None
    divert: Annotated[Name | None, _meta("dialect of a diversion to the desk", _DIALECT)] = "redirect302"
    challenge: Annotated[Name | None, _meta("dialect of a challenge", _DIALECT)] = "redirect302"
    label: Annotated[Name | None, _meta("dialect of a call that goes on with a label", _DIALECT)] = "label-header"
    allow: Annotated[Name | None, _meta("dialect of a call that goes on; null says the verdict alone", _DIALECT)] = None
    by_rule: Annotated[
        dict[RuleId, Name],
        _meta(
            "dialect of what one rule refuses, such as human607 for a rule that carries out what people asked for",
            "a mapping, each rule id with the name of a dialect",
        ),
    ] = {}
    reason: Annotated[
        bool, _meta("whether switches, and so perhaps callers, are told the reason in words; else the decision's id")
    ] = True


class SwitchDialectSettings(_Section, frozen=True):
    """What one switch is told in another dialect than its region's."""

    block: Annotated[Name | None, _meta("dialect of a refusal; null is the region's", _DIALECT)] = None
    divert: Annotated[Name | None, _meta("dialect of a diversion; null is the region's", _DIALECT)] = None
    challenge: Annotated[Name | None, _meta("dialect of a challenge; null is the region's", _DIALECT)] = None
    label: Annotated[Name | None, _meta("dialect of a label; null is the region's", _DIALECT)] = None
    allow: Annotated[Name | None, _meta("dialect of a call that goes on; null is the region's", _DIALECT)] = None
    by_rule: Annotated[
        dict[RuleId, Name],
        _meta("dialect of what one rule refuses", "a mapping, each rule id with the name of a dialect"),
    ] = {}
    reason: Annotated[bool, _meta("whether this switch is told the reason in words, where the region allows it")] = True


class RedressSettings(_Section, frozen=True):
    """Whom callers turn to who were refused by mistake: in the signed card of RFC 8688 and in 603+."""

    name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=80)] | None,
        _meta("who answers, such as the name of the office", "a name of at most 80 characters, or null"),
    ] = None
    url: Annotated[
        HttpsUrl | None, _meta("page for complaints", "an address such as https://redress.example/blocked, or null")
    ] = None
    tel: Annotated[
        Annotated[str, Meta(pattern=E164)] | None,
        _meta("telephone number for complaints", "a number such as +77010000000, or null"),
    ] = None
    email: Annotated[
        Annotated[str, Meta(pattern=EMAIL)] | None,
        _meta("e-mail address for complaints", "an address such as redress@operator.example, or null"),
    ] = None
    key_file: Annotated[
        Directory | None,
        _meta("file with the private key (PEM, curve P-256) that signs the card; null sends no card", "a file or null"),
    ] = None
    certificate_url: Annotated[
        HttpsUrl | None,
        _meta("where the certificate of that key lies", "an address such as https://cert.example/key.cer, or null"),
    ] = None
    card_url: Annotated[
        HttpsUrl | None,
        _meta(
            "where you publish the signed card; null puts the card itself into each refusal",
            "an address such as https://redress.example/card, or null",
        ),
    ] = None


FailAction = Literal["allow", "label", "national_only", "emergency_only", "refuse"]
_FAIL: Final = "allow, label, national_only, emergency_only or refuse"


class FailSettings(_Section, frozen=True):
    """What becomes of calls on any trunk that nobody could decide about, by the reason."""

    late: Annotated[FailAction, _meta("no verdict came by the deadline", f"one of {_FAIL}")] = "allow"
    redis: Annotated[FailAction, _meta("Redis is gone, so that nobody can be asked", f"one of {_FAIL}")] = "allow"
    overload: Annotated[FailAction, _meta("more calls wait than the switch may let wait", f"one of {_FAIL}")] = "allow"
    bundle_missing: Annotated[
        FailAction, _meta("the engine has no rules or no model that can judge the call", f"one of {_FAIL}")
    ] = "allow"
    desk_full: Annotated[
        FailAction | None,
        _meta(
            "the switch finds no desk that takes a diverted call; null is what policy.desk.overflow says",
            f"one of {_FAIL}, or null",
        ),
    ] = None


class TrunkFailSettings(_Section, frozen=True):
    """What becomes of calls on one class of trunks; null is what holds on any trunk."""

    late: Annotated[FailAction | None, _meta("no verdict came by the deadline", f"one of {_FAIL}, or null")] = None
    redis: Annotated[FailAction | None, _meta("Redis is gone", f"one of {_FAIL}, or null")] = None
    overload: Annotated[FailAction | None, _meta("too many calls wait", f"one of {_FAIL}, or null")] = None
    bundle_missing: Annotated[
        FailAction | None, _meta("the engine cannot judge the call", f"one of {_FAIL}, or null")
    ] = None
    desk_full: Annotated[FailAction | None, _meta("no desk takes the call", f"one of {_FAIL}, or null")] = None


class FailPolicySettings(_Section, frozen=True):
    """The fail policy: what becomes of calls that nobody decides about. Emergency calls and protected numbers go on."""

    any: Annotated[FailSettings, _meta("on any trunk")] = FailSettings()
    international: Annotated[TrunkFailSettings, _meta("on trunks from and to other countries")] = TrunkFailSettings()
    national: Annotated[TrunkFailSettings, _meta("on trunks from and to other operators")] = TrunkFailSettings()
    subscriber: Annotated[TrunkFailSettings, _meta("on trunks of the operator's own customers")] = TrunkFailSettings()


RuleParams = dict[Annotated[str, Meta(pattern=RULE_ID, extra={"words": "the id of a rule"})], dict[str, Any]]


class PolicySettings(_Section, frozen=True):
    """What is done with calls; every key here may be overridden by a region."""

    ceiling: Annotated[
        CeilingWord,
        _meta(
            "the hardest verdict that is carried out: off, shadow, label, challenge, divert or block",
            "one of off, shadow, label, challenge, divert, block",
        ),
    ] = "shadow"
    thresholds: Annotated[ThresholdSettings, _meta("scores from which on the model asks for a verdict")] = (
        ThresholdSettings()
    )
    desk: Annotated[DeskSettings, _meta("the humans who take diverted calls")] = DeskSettings()
    challenge: Annotated[ChallengeSettings, _meta("the machine that asks callers to prove themselves")] = (
        ChallengeSettings()
    )
    block: Annotated[BlockSettings, _meta("how a blocked call is refused")] = BlockSettings()
    dialect: Annotated[DialectSettings, _meta("how verdicts are said to the switches of a region")] = DialectSettings()
    redress: Annotated[RedressSettings, _meta("whom callers turn to who were refused by mistake")] = RedressSettings()
    fail: Annotated[FailPolicySettings, _meta("what becomes of calls that nobody decides about")] = FailPolicySettings()
    language: Annotated[
        Language | None,
        _meta(
            "language of reasons: en, kk or ru; null is the language of the whole shard", "one of en, kk, ru, or null"
        ),
    ] = None
    rules: Annotated[
        RuleParams,
        _meta("parameters of rules: rule id, then parameter and value", "a mapping, each rule id with its parameters"),
    ] = {}


class SwitchSettings(_Section, frozen=True):
    """One switch that sends calls."""

    region: Annotated[RegionCode, _meta("the region that the switch serves", "an ISO 3166-2 code such as KZ-75")]
    dialect: Annotated[SwitchDialectSettings, _meta("what it is told in another dialect than its region's")] = (
        SwitchDialectSettings()
    )


class TrunkSettings(_Section, frozen=True):
    """A family of trunks by the pattern of their names."""

    match: Annotated[
        str,
        Meta(
            pattern=TRUNK_PATTERN,
            description="name of a trunk, * and ? stand for anything",
            extra={"words": 'a trunk name without spaces, such as "intl-*"'},
        ),
    ]
    class_: Annotated[
        TrunkClass,
        _meta(
            "what they carry: international, national or subscriber calls, or those that a desk hands back, which are "
            "not judged again"
        ),
    ] = msgspec.field(name="class")


class Document(_Section, frozen=True):
    """config/default.yaml: what holds for the whole shard."""

    shard: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9_-]{1,32}\Z",
            description="name of the log and its engines; part of every key in Redis",
            extra={"words": "1 to 32 of a-z, 0-9, - and _"},
        ),
    ] = "kz"
    country: Annotated[
        str,
        Meta(pattern=r"^[A-Z]{2}\Z", description="home country, ISO 3166-1", extra={"words": "two letters such as KZ"}),
    ] = "KZ"
    dial_plan: Annotated[Name, _meta("how numbers are read: dialplans/<dial_plan>.yaml")] = "kz"
    utc_offset_min: Annotated[
        int, Meta(ge=-720, le=840, description="local time, minutes east of UTC; fixed, without daylight saving")
    ] = 300
    default_region: Annotated[
        RegionCode, _meta("region of a call that neither switch nor callee gives a region to")
    ] = "KZ-71"
    language: Annotated[Language, _meta("language of reasons: en, kk or ru")] = "ru"
    deadline_ms: Annotated[
        int,
        Meta(
            ge=10,
            le=30_000,
            description="milliseconds that a switch waits for the verdict before it lets the call go on",
        ),
    ] = 150
    rules: Annotated[
        Directory | None,
        _meta(
            "directory of the rules; null is the one that came along (ANTIFRAUD_RULES sets it)", "a directory or null"
        ),
    ] = None
    model: Annotated[
        Directory | None,
        _meta(
            "model: name/version under models/, or a directory; null decides by rules alone",
            "name/version, a directory, or null",
        ),
    ] = "kz-calls/5"
    challenger: Annotated[
        Directory | None,
        _meta(
            "a second model that scores every call and decides nothing, to be compared with the first; null is none",
            "name/version, a directory, or null",
        ),
    ] = None
    redis: Annotated[RedisSettings, _meta("the Redis that carries the log")] = RedisSettings()
    engine: Annotated[EngineSettings, _meta("how the engine runs")] = EngineSettings()
    features: Annotated[FeatureSettings, _meta("what the engine remembers of the past")] = FeatureSettings()
    metrics: Annotated[MetricsSettings, _meta("figures of the engine for Prometheus")] = MetricsSettings()
    journal: Annotated[JournalSettings, _meta("the record of decisions as Parquet files")] = JournalSettings()
    alerts: Annotated[AlertSettings, _meta("alerts by MQTT")] = AlertSettings()
    cards: Annotated[CardSettings, _meta("call cards for the desk over HTTP")] = CardSettings()
    policy: Annotated[PolicySettings, _meta("what is done with calls where a region says nothing else")] = (
        PolicySettings()
    )
    switches: Annotated[
        dict[Name, SwitchSettings],
        _meta("switch name, then the region that it serves", "a mapping, each switch with its region"),
    ] = {}
    desks: Annotated[
        dict[Name, DeskDeclaration],
        _meta("desk name, then where it is and what it can take", "a mapping, each desk with its target"),
    ] = {}
    trunks: Annotated[
        tuple[TrunkSettings, ...],
        _meta("families of trunks, the first match counts", "a list, each item {match: …, class: …}"),
    ] = ()
    adapters: Annotated[
        dict[Name, dict[str, Any]],
        _meta("adapter name, then its own options", "a mapping, each adapter with its options"),
    ] = {}
    agents: Annotated[
        dict[Name, dict[str, Any]],
        _meta(
            "switch name, then the agent that carries commands out on it and its own options",
            "a mapping, each switch with agent and options, such as sw-kz-75: {agent: kamailio, enabled: true}",
        ),
    ] = {}


class RegionName(_Section, frozen=True):
    """What a region is called."""

    en: Annotated[str, Meta(min_length=1, max_length=80, description="in English")]
    ru: Annotated[str, Meta(min_length=1, max_length=80, description="in Russian")]
    kk: Annotated[str, Meta(min_length=1, max_length=80, description="in Kazakh")]


class RegionDocument(_Section, frozen=True):
    """config/regions/<code>.yaml: what one region does differently."""

    name: Annotated[RegionName, _meta("what the region is called")]
    policy: Annotated[PolicySettings, _meta("what differs from the policy in default.yaml")] = PolicySettings()


class Region(msgspec.Struct, frozen=True):
    """A region with everything that holds in it, after all layers."""

    code: str
    name: RegionName
    policy: PolicySettings
    switches: tuple[str, ...] = ()
