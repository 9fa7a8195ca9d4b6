"""The configuration of a node: one JSON file, strict. What is missing, unknown or of a wrong kind stops the start."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, get_type_hints
from urllib.parse import urlsplit

import orjson

from commonhold.errors import BadInput
from commonhold.signing import Domain
from commonhold.units import AssetId, to_address


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One node: a gateway, a meter and a reporter for one COMPUTE asset. Paths are relative to the file's folder."""

    service_url: str  # where segments go
    issuer: str  # whose tokens count
    audience: str  # the public URL of this gateway, exactly as the asset's URI on chain
    asset: str  # decimal
    chain_id: int
    meter: str  # address of the contract
    meter_key: str  # path of the PEM file; made at the first start
    upstream: str
    gpus: int  # allotted to whoever has the node; never more than the asset's units
    spool: str  # path of the folder
    host: str
    port: int
    level: int  # of the appraisal, for people
    policy: str  # of the appraisal, for people; "development" included
    interval_ms: int = 1_000  # between two readings; what a crash may lose
    segment_ms: int = 60_000  # the oldest that an unsealed reading may get
    wait_s: int = 30  # how long a request waits while another lease has the GPUs

    @classmethod
    def load(cls, path: Path) -> Self:
        """The configuration in a file. Raises BadInput."""
        try:
            parsed = orjson.loads(path.read_bytes())
        except FileNotFoundError as e:
            raise BadInput(f"node configuration {path}: there is no such file") from e
        except (OSError, orjson.JSONDecodeError) as e:
            raise BadInput(f"node configuration {path}: {e}") from e
        return cls.from_json(parsed, path)

    @classmethod
    def from_json(cls, parsed: Any, path: Path) -> Self:
        """The same from parsed JSON; `path` is of the file it stands in. Raises BadInput."""
        where = f"node configuration {path}"
        if not isinstance(parsed, dict):
            raise BadInput(f"{where}: expected an object")
        kinds = get_type_hints(cls)
        required = {f.name for f in fields(cls)} - _OPTIONAL
        if missing := sorted(required - parsed.keys()):
            raise BadInput(f"{where}: {', '.join(missing)} missing")
        if unknown := sorted(parsed.keys() - kinds.keys()):
            raise BadInput(f"{where}: unknown {', '.join(map(str, unknown))}")
        for name, value in parsed.items():
            if type(value) is not kinds[name]:  # bool is an int
                raise BadInput(f"{where}: {name}: expected {kinds[name].__name__}, got {type(value).__name__}")
        config = cls(**{**parsed, **{name: str(path.parent / parsed[name]) for name in ("meter_key", "spool")}})
        config._check(where)
        return config

    @property
    def domain(self) -> Domain:
        """Where the node's signatures count."""
        return Domain("Meter", self.chain_id, to_address(self.meter))

    @property
    def asset_id(self) -> AssetId:
        """The asset, as a number."""
        return AssetId(int(self.asset))

    def _check(self, where: str) -> None:
        for name in ("service_url", "issuer", "audience", "upstream"):
            url = urlsplit(getattr(self, name))
            if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
                raise BadInput(f"{where}: {name}: expected an http or https URL without query, got {url.geturl()!r}")
        if not self.asset.isdecimal() or int(self.asset) >> 192:
            raise BadInput(f"{where}: asset: expected decimal text of at most 192 bits")
        to_address(self.meter)
        ranges = {
            "chain_id": (1, 2**63),
            "gpus": (1, 1_024),
            "port": (0, 65_535),
            "level": (0, 5),
            "interval_ms": (10, 60_000),
            "segment_ms": (10, 3_600_000),
            "wait_s": (0, 3_600),
        }
        for name, (least, most) in ranges.items():
            if not least <= getattr(self, name) <= most:
                raise BadInput(f"{where}: {name}: expected {least} to {most}, got {getattr(self, name)}")


_OPTIONAL = {"interval_ms", "segment_ms", "wait_s"}
