"""The configuration after all layers: typed values, the place of each, and the policy that the decision takes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from antifraud.domain import Ceiling, ConfigError, Location, Problem
from antifraud.settings.check import closest
from antifraud.settings.directories import data_dir, state_dir
from antifraud.settings.layers import setting_paths
from antifraud.settings.masking import mask_value
from antifraud.settings.schema import (
    AlertSettings,
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
        self.redis: RedisSettings = document.redis
        self.engine: EngineSettings = document.engine
        self.features: FeatureSettings = document.features
        self.metrics: MetricsSettings = document.metrics
        self.journal: JournalSettings = document.journal
        self.switches: Mapping[str, SwitchSettings] = document.switches
        self.trunks: tuple[TrunkSettings, ...] = document.trunks
        self.adapters: Mapping[str, Mapping[str, Any]] = document.adapters
        self.base_policy: PolicySettings = document.policy
        self.regions: Mapping[str, Region] = regions
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
        if self.model is None:
            return None
        if self.model.startswith((".", "/", "~")):
            found = self._path(("model",)) or Path(self.model)
            known: list[str] = []
        else:
            models = data_dir("models", env=self._env)
            found = models / self.model
            known = sorted(f"{path.parent.parent.name}/{path.parent.name}" for path in models.glob("*/*/manifest.toml"))
        if (found / "manifest.toml").is_file():
            return found
        near = closest(self.model, known)
        hint = f"did you mean {near}?" if near else f"there are: {', '.join(known) or 'none'}; null is no model"
        message = f"model {self.model}: no manifest.toml in {found}"
        node = self._tree.at(("model",))
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
        from antifraud.decision.policy import Policy

        policy = Policy(
            shard=self.shard,
            country=self.country,
            default_region=self.default_region,
            regions={code: self._region_policy(region) for code, region in sorted(self.regions.items())},
            switches={name: switch.region for name, switch in sorted(self.switches.items())},
            trunks=tuple((trunk.match, trunk.class_) for trunk in self.trunks),
            utc_offset_min=self.utc_offset_min,
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
            desk=policy.desk.target or "",
            challenge=policy.challenge.target or "",
            block_code=policy.block.code,
            language=policy.language or self.language,
            params=policy.rules,
        )


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
