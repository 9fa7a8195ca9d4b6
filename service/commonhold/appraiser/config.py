"""Running one appraiser: its configuration file, read strictly, and the server.

The file is JSON; paths in it are relative to the file itself:

    {"key": "appraiser.key", "chain_id": 31337, "ledger": "0x...", "host": "127.0.0.1", "port": 8101}

`policies` may name a folder of policy documents, whose roots lie in the folder `roots` beside it; without it, the
policies of this package count. `development_root` may name a development authority's root certificate: the policy
"development", which trusts it, is then there as well. `most_bytes` may limit a dataset or model.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn

from commonhold.appraiser.api import MOST_BYTES, AppraiserState, create_app
from commonhold.appraiser.policy import FOLDER, Policy, development_policy, load_policy
from commonhold.errors import BadInput
from commonhold.keyfile import read_wallet
from commonhold.listen import listen
from commonhold.units import Address, to_address

REQUIRED: Final = ("key", "chain_id", "ledger", "host", "port")
OPTIONAL: Final = ("policies", "development_root", "most_bytes")
SHIPPED: Final = FOLDER / "policies"
MAX_CONNECTIONS: Final = 64  # an upload holds one; more are answered 503
STOP_S: Final = 5  # how long running requests may take when it is told to stop


class ConfigError(BadInput):
    """A configuration file that cannot be used; the message names file and field."""

    code = "bad_config"


@dataclass(frozen=True, slots=True)
class AppraiserConfig:
    """All that an appraiser is told. `port` 0: any free one. `most_bytes`: of one dataset or model."""

    key: Path
    chain_id: int
    ledger: Address
    host: str
    port: int
    policies: Path = SHIPPED
    development_root: Path | None = None  # None: no development authority is trusted
    most_bytes: int = MOST_BYTES


def load_config(path: Path) -> AppraiserConfig:
    """The configuration of a file. Raises ConfigError."""
    try:
        fields: object = json.loads(path.read_text("utf-8"))
    except OSError as e:
        raise ConfigError(f"configuration {path}: {e.strerror}") from e
    except ValueError as e:
        raise ConfigError(f"configuration {path}: expected JSON, got {e}") from e
    if not isinstance(fields, dict):
        raise ConfigError(f"configuration {path}: expected an object, got {type(fields).__name__}")
    for name in fields:
        if name not in REQUIRED + OPTIONAL:
            raise ConfigError(
                f"configuration {path}: unknown field {name!r}, expected {', '.join(REQUIRED + OPTIONAL)}"
            )
    for name in REQUIRED:
        if name not in fields:
            raise ConfigError(f"configuration {path}: expected field {name!r}, got none")

    def text(name: str) -> str:
        value = fields[name]
        if not isinstance(value, str) or not value:
            raise ConfigError(f"configuration {path}: {name}: expected text, got {value!r}")
        return value

    def whole(name: str, least: int, most: int) -> int:
        value = fields[name]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ConfigError(f"configuration {path}: {name}: expected a number in {least}..{most}, got {value!r}")
        return value

    try:
        ledger = to_address(text("ledger"))
    except ConfigError:
        raise
    except BadInput as e:
        raise ConfigError(f"configuration {path}: ledger: {e}") from e
    return AppraiserConfig(
        key=path.parent / text("key"),
        chain_id=whole("chain_id", 1, 2**53),
        ledger=ledger,
        host=text("host"),
        port=whole("port", 0, 65_535),
        policies=path.parent / text("policies") if "policies" in fields else SHIPPED,
        development_root=path.parent / text("development_root") if "development_root" in fields else None,
        most_bytes=whole("most_bytes", 1, 2**40) if "most_bytes" in fields else MOST_BYTES,
    )


def load_policies(folder: Path, development_root: Path | None = None) -> dict[str, Policy]:
    """Every `*.json` of `folder` as a policy, by name, and the one of the development root. Raises ConfigError."""
    paths, policies = sorted(folder.glob("*.json")), dict[str, Policy]()
    if not paths:
        raise ConfigError(f"policies {folder}: expected a folder with at least one policy (*.json), found none")
    for path in [*paths, *([development_root] if development_root else [])]:
        try:
            policy = development_policy(path.read_bytes()) if path == development_root else load_policy(path)
        except OSError as e:
            raise ConfigError(f"policy {path}: {e.strerror}") from e
        except ValueError as e:
            raise ConfigError(f"policy {path}: {e}") from e
        if policy.name in policies:
            raise ConfigError(f"policy {path}: expected each name once, got {policy.name!r} twice")
        policies[policy.name] = policy
    return policies


def state_of(config: AppraiserConfig, clock: Callable[[], int]) -> AppraiserState:
    """The state of an appraiser so configured. Raises ConfigError, and KeyFileError of its key file."""
    return AppraiserState(
        key=read_wallet(config.key),
        policies=load_policies(config.policies, config.development_root),
        chain_id=config.chain_id,
        ledger=config.ledger,
        clock=clock,
        most_bytes=config.most_bytes,
    )


def server_of(state: AppraiserState, *, host: str, port: int) -> uvicorn.Server:
    """A server of this appraiser; nothing listens yet. Raises BadInput."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(state),
            host=host,
            port=port,
            log_level="warning",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=STOP_S,
            server_header=False,
            ws="none",
        )
    )


def run(config: AppraiserConfig) -> None:
    """Serves until SIGINT or SIGTERM. Raises ConfigError, KeyFileError, BadInput and PortTaken before it answers."""
    server = server_of(state_of(config, lambda: int(time.time())), host=config.host, port=config.port)
    server.run(sockets=[listen(config.host, config.port)])
