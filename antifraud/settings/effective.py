"""The configuration after all layers: typed values, the place of each, and the policy that the decision takes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from antifraud.dialects import Dialect, Signer, Speaker, read_key
from antifraud.dialects.jcard import MAX_KEY_BYTES
from antifraud.domain import Ceiling, ConfigError, Location, Problem, Verdict
from antifraud.settings.check import closest
from antifraud.settings.dialects import choice_of, redress_of
from antifraud.settings.directories import data_dir, state_dir
from antifraud.settings.layers import setting_paths
from antifraud.settings.masking import mask_value
from antifraud.settings.schema import (
    AlertSettings,
    CardSettings,
    Document,
    EngineSettings,
    FeatureSettings,
    JournalSettings,
    MetricsSettings,
    PolicySettings,
    RedisSettings,
    Region,
    SwitchSettings,
    TrunkSettings,
)
from antifraud.settings.tree import Node

if TYPE_CHECKING:
    from antifraud.decision.fail import FailPolicy
    from antifraud.decision.policy import Policy, RegionPolicy

BUILT_IN: Final = Location("built-in default")


class Value(msgspec.Struct, frozen=True):
    """One effective setting: its path, its value (passwords masked), where it was said."""

    path: tuple[str, ...]
    value: Any
    where: Location

    @property
    def name(self) -> str:
        """The path with dots."""
        return ".".join(self.path)


class Settings:
    """The whole configuration of one shard after all layers, with the place of every value.

    ``notes`` are things that are allowed and probably not meant; ``config validate`` and ``doctor`` show them.
    """

    def __init__(
        self,
        config_dir: Path,
        document: Document,
        regions: Mapping[str, Region],
        tree: Node,
        region_trees: Mapping[str, Node],
        notes: Sequence[Problem] = (),
        env: Mapping[str, str] | None = None,
        dialects: Mapping[str, Dialect] | None = None,
    ) -> None:
        self.config_dir = config_dir
        self.document = document
        self.shard: str = document.shard
        self.country: str = document.country
        self.dial_plan: str = document.dial_plan
        self.utc_offset_min: int = document.utc_offset_min
        self.default_region: str = document.default_region
        self.language: str = document.language
        self.deadline_ms: int = document.deadline_ms
        self.model: str | None = document.model
        self.challenger: str | None = document.challenger
        self.redis: RedisSettings = document.redis
        self.engine: EngineSettings = document.engine
        self.features: FeatureSettings = document.features
        self.metrics: MetricsSettings = document.metrics
        self.journal: JournalSettings = document.journal
        self.switches: Mapping[str, SwitchSettings] = document.switches
        self.trunks: tuple[TrunkSettings, ...] = document.trunks
        self.adapters: Mapping[str, Mapping[str, Any]] = document.adapters
        self.agents: Mapping[str, Mapping[str, Any]] = document.agents
        self.base_policy: PolicySettings = document.policy
        self.regions: Mapping[str, Region] = regions
        self.dialects: Mapping[str, Dialect] = dialects or {}
        self.notes: tuple[Problem, ...] = tuple(notes)
        self._tree = tree
        self._region_trees = region_trees
        self._env = os.environ if env is None else env
        self.alerts: AlertSettings = msgspec.structs.replace(
            document.alerts,
            **{
                name: str(path)
                for name in ("password_file", "ca_file")
                if (path := self._path(("alerts", name))) is not None
            },
        )

    @property
    def cards(self) -> CardSettings:
        """Call cards over HTTP, with their files where they are."""
        named = {name: self._path(("cards", name)) for name in ("token_file", "certificate", "key")}
        files = {name: str(path) for name, path in named.items() if path is not None}
        return msgspec.structs.replace(self.document.cards, **files)

    @property
    def rules_dir(self) -> Path:
        """The directory of the rules; UsageError when it was named and does not exist."""
        return data_dir("rules", self._path(("rules",)), env=self._env)

    @property
    def dial_plan_path(self) -> Path:
        """The file of the dial plan."""
        return self.config_dir / "dialplans" / f"{self.dial_plan}.yaml"

    @property
    def model_dir(self) -> Path | None:
        """The directory of the model; None when calls are decided by rules alone. ConfigError when there is none."""
        return self._model_dir("model", self.model)

    @property
    def challenger_dir(self) -> Path | None:
        """The directory of the model that only scores beside the other; None without. ConfigError as ``model_dir``."""
        return self._model_dir("challenger", self.challenger)

    def _model_dir(self, key: str, name: str | None) -> Path | None:
        if name is None:
            return None
        if name.startswith((".", "/", "~")):
            found = self._path((key,)) or Path(name)
            known: list[str] = []
        else:
            models = data_dir("models", env=self._env)
            found = models / name
            known = sorted(f"{path.parent.parent.name}/{path.parent.name}" for path in models.glob("*/*/manifest.toml"))
        if (found / "manifest.toml").is_file():
            return found
        near = closest(name, known)
        hint = f"did you mean {near}?" if near else f"there are: {', '.join(known) or 'none'}; null is no model"
        message = f"{key} {name}: no manifest.toml in {found}"
        node = self._tree.at((key,))
        raise ConfigError.of([node.problem(message, hint) if node is not None else Problem(message, hint=hint)])

    @property
    def snapshot_dir(self) -> Path:
        """Where the engine keeps its snapshots."""
        return self._path(("engine", "snapshot_dir")) or state_dir(self._env) / "snapshots"

    @property
    def journal_dir(self) -> Path:
        """Where the journal keeps its files."""
        return self._path(("journal", "directory")) or state_dir(self._env) / "journal"

    def _path(self, path: Sequence[str]) -> Path | None:
        """A directory that a setting names: relative to config/ when a file says it, else to where we run."""
        node = self._tree.at(path)
        if node is None or node.value is None:
            return None
        named = Path(str(node.value)).expanduser()
        return named if node.loose or named.is_absolute() else self.config_dir / named

    def speaker(self, *, sign: bool = True) -> Speaker:
        """What says decisions in the dialects of regions and switches. ConfigError, with its place, when the key that
        signs a card cannot be used; of the key itself nothing is said. Without ``sign`` no key is read."""
        signers: dict[str, Signer] = {}
        problems: dict[Problem, None] = {}
        for code in self.regions if sign else ():
            try:
                signer = self.signer(code)
            except ConfigError as error:
                problems |= dict.fromkeys(error.problems)
            else:
                if signer is not None:
                    signers[code] = signer
        if problems:
            raise ConfigError.of(list(problems))
        return Speaker(
            self.dialects,
            regions={code: choice_of(region.policy.dialect) for code, region in self.regions.items()},
            switches={name: choice_of(switch.dialect) for name, switch in self.switches.items()},
            statuses={code: region.policy.block.code for code, region in self.regions.items()},
            redress={code: redress_of(region.policy.redress) for code, region in self.regions.items()},
            signers=signers,
        )

    def signer(self, region: str) -> Signer | None:
        """What signs the card of ``region``; None when it has none. ConfigError when its key cannot be used."""
        redress = self.regions[region].policy.redress
        if redress.key_file is None:
            return None
        node = self._region_trees[region].at(("policy", "redress", "key_file"))
        path = Path(redress.key_file).expanduser()
        if not path.is_absolute() and (node is None or not node.loose):
            path = self.config_dir / path
        try:
            with path.open("rb") as file:
                key = read_key(file.read(MAX_KEY_BYTES + 1))
        except OSError as error:
            found = [Problem(f"{path} cannot be read: {error.strerror or error}", hint="the engine must be able to")]
        except ConfigError as error:
            found = [Problem(f"{path}: {one.message}", hint=one.hint) for one in error.problems]
        else:
            return Signer(redress_of(redress), key)
        placed = [msgspec.structs.replace(one, message=f"policy.redress.key_file: {one.message}") for one in found]
        raise ConfigError.of([one if node is None else node.problem(one.message, one.hint) for one in placed])

    def where(self, name: str, region: str | None = None) -> Location:
        """The place that gave ``name`` (a dotted path) its value, in the whole shard or in one region."""
        path = tuple(name.split("."))
        tree = self._tree if region is None else self._region_trees[region]
        while path:
            node = tree.at(path)
            if node is not None:
                return node.where
            path = path[:-1]
            if path and (parent := tree.at(path)) is not None and not parent.is_map:
                return parent.where
        return BUILT_IN

    def placed(self, problem: Problem, path: Sequence[str], region: str, *, key: bool = False) -> Problem:
        """``problem`` at the place that gave ``path`` its value in ``region``, or at the last ``key`` of the path."""
        parent = self._region_trees[region].at(path[:-1])
        entry = parent.value.get(path[-1]) if parent is not None and parent.is_map else None
        if entry is None:
            return problem
        node: Node = entry.key if key else entry.value
        return node.problem(problem.message, problem.hint)

    def values(self, region: str | None = None) -> list[Value]:
        """Every effective setting, of the whole shard or of one region (its policy), passwords masked."""
        if region is None:
            return _values(self._tree, msgspec.to_builtins(self.document), setting_paths(Document))
        policy = {"policy": msgspec.to_builtins(self.regions[region].policy)}
        paths = (("policy", *path) for path in setting_paths(PolicySettings))
        return _values(self._region_trees[region], policy, paths)

    def policy(self) -> Policy:
        """What the decision needs of this configuration; equal configurations give equal digests."""
        # The package of the decision imports numpy, numba and LightGBM; checking configuration must not wait for them.
        from antifraud.decision.desks import Desk, parse_hours
        from antifraud.decision.policy import Policy

        policy = Policy(
            shard=self.shard,
            country=self.country,
            default_region=self.default_region,
            regions={code: self._region_policy(region) for code, region in sorted(self.regions.items())},
            switches={name: switch.region for name, switch in sorted(self.switches.items())},
            trunks=tuple((trunk.match, trunk.class_) for trunk in self.trunks),
            desks=tuple(
                Desk(
                    name=name,
                    target=desk.target,
                    languages=desk.languages,
                    hours=tuple(parse_hours(text) for text in desk.hours),
                    calls=desk.calls,
                    queue=desk.queue,
                    hold_s=desk.hold_s,
                    silent_s=desk.silent_s,
                    one_caller=desk.one_caller,
                )
                for name, desk in sorted(self.document.desks.items())
            ),
            utc_offset_min=self.utc_offset_min,
            warm_up_s=self.engine.warm_up_s,
        )
        canonical = msgspec.json.encode(policy, order="sorted")
        return msgspec.structs.replace(policy, digest=hashlib.blake2b(canonical, digest_size=8).hexdigest())

    def _region_policy(self, region: Region) -> RegionPolicy:
        from antifraud.decision.policy import RegionPolicy

        policy = region.policy
        return RegionPolicy(
            code=region.code,
            ceiling=Ceiling.parse(policy.ceiling),
            label_at=policy.thresholds.label,
            challenge_at=policy.thresholds.challenge,
            divert_at=policy.thresholds.divert,
            block_at=policy.thresholds.block,
            within_certificate=policy.thresholds.within_certificate,
            desk=policy.desk.target or "",
            queues=policy.desk.queues,
            overflow=Verdict.parse(policy.desk.overflow),
            challenge=policy.challenge.target or "",
            block_code=policy.block.code,
            language=policy.language or self.language,
            params=policy.rules,
            fail=_fail_policy(policy),
        )


def _fail_policy(policy: PolicySettings) -> FailPolicy:
    """The ladder as the decision takes it: what is said, by class of trunk and reason."""
    from antifraud.decision.fail import ANY_TRUNK, TRUNK_CLASSES, FailAction, FailPolicy, FailReason

    rungs = {
        name: {
            reason.value: FailAction.parse(word)
            for reason in FailReason
            if (word := getattr(getattr(policy.fail, name), reason.value)) is not None
        }
        for name in (ANY_TRUNK, *TRUNK_CLASSES)
    }
    return FailPolicy({name: found for name, found in rungs.items() if found})


def _values(tree: Node, plain: Mapping[str, Any], declared: Iterable[tuple[str, ...]]) -> list[Value]:
    """The single values of ``plain`` with their places: those that are declared, then what people added."""
    places = {path: node.where for path, node in tree.leaves()}
    found = dict(_leaves(plain, ()))
    order = dict.fromkeys(path for path in declared if path in found)
    order.update(dict.fromkeys(found))
    return [Value(path, mask_value(path, found[path]), places.get(path, BUILT_IN)) for path in order]


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, str(key)))
    elif not isinstance(value, dict):
        yield path, value
