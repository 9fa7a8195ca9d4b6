"""The service's settings: environment variables COMMONHOLD_*, or the same names as options of `commonhold serve`.

A default that would be a secret or an address does not exist here: those come from files that the operator names.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

DEVELOPMENT_CHAIN = 31337  # anvil's and hardhat's chain id
_WEBSOCKET = ("ws://", "wss://")
MAX_HEAD_AGE_S = 300  # 25 slots of Ethereum; Blockscout's default as well


class Settings(BaseSettings):
    """Every field can be set as COMMONHOLD_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="COMMONHOLD_", extra="forbid", frozen=True)

    database_url: str = Field(
        "sqlite:///.commonhold/service.db", description="sqlite:///path or postgresql://...", repr=False
    )
    rpc_url: str = Field(
        "http://127.0.0.1:8545",
        description="JSON-RPC endpoints, by commas; ws:// and wss:// ones announce new heads",
        repr=False,
    )
    deployment: Path = Field(Path("deployment.json"), description="the deployment file: chain id and addresses")
    data_dir: Path = Field(Path(".commonhold"), description="signing keys of the service")
    relayer_key: Path | None = Field(
        None, description="key file of the account that relays, settles and anchors; it holds no role. None: read only"
    )
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    issuer: str | None = Field(None, description="public URL of the service; default http://HOST:PORT")
    rpc_quorum: int = Field(1, ge=1, description="how many endpoints must agree on every block")
    tier: Literal["latest", "safe", "finalized"] = Field("latest", description="which blocks are believed")
    admit_tier: Literal["latest", "safe", "finalized"] = Field(
        "latest", description="how settled a membership and an appraisal must be to count for a token"
    )
    redeem_tier: Literal["latest", "safe", "finalized"] = Field(
        "latest", description="how settled a redemption must be before tokens are issued for the lease"
    )
    settle_tier: Literal["latest", "safe", "finalized"] = Field(
        "latest", description="how settled a redemption must be before its receipts are settled and anchored"
    )
    verify_logs: bool = Field(
        True, description="recompute headers and receipts; off only for chains whose own forms differ from Ethereum's"
    )
    spot_checks: int = Field(
        0, ge=0, description="rows of each kind that are compared with proofs of storage each time; 0: none are"
    )
    spot_check_s: float = Field(300.0, gt=0, description="how often")
    poll_s: float = Field(1.0, gt=0, description="how often new blocks are asked for")
    max_head_age_s: int | None = Field(
        None,
        ge=0,
        description="age of the newest block at which the service stops being ready; 0: any. None: see below",
    )
    token_ttl_s: int = Field(300, ge=10, le=300, description="lifetime of an access token")
    quantum_s: int = Field(300, ge=1, description="GPU-seconds an access token allows beyond the last receipt")
    settle_s: float = Field(60.0, gt=0, description="how often receipts are settled on chain")
    epoch_s: float = Field(3600.0, gt=0, description="how often an epoch is closed and anchored")

    @property
    def rpc_urls(self) -> tuple[str, ...]:
        """In the order in which they are asked."""
        return tuple(url for url in split_urls(self.rpc_url) if not url.startswith(_WEBSOCKET))

    @property
    def head_urls(self) -> tuple[str, ...]:
        """Those that announce new heads."""
        return tuple(url for url in split_urls(self.rpc_url) if url.startswith(_WEBSOCKET))

    def head_age_s(self, chain_id: int) -> int:
        """How old the newest block may be; 0: any age, which is the default on development chains: they stand still."""
        if self.max_head_age_s is not None:
            return self.max_head_age_s
        return 0 if chain_id == DEVELOPMENT_CHAIN else MAX_HEAD_AGE_S

    @property
    def issuer_url(self) -> str:
        """The public URL of the service, as tokens name it."""
        return self.issuer or f"http://{self.host}:{self.port}"


def split_urls(text: str) -> tuple[str, ...]:
    """URLs that commas separate."""
    return tuple(url for part in text.split(",") if (url := part.strip()))
