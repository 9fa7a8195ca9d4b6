"""Appraisers on loopback sockets, a node that they can appraise, and what a provider asks them."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace

import httpx
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.types import ASGIApp

from commonhold.appraiser.api import AppraiserState, create_app
from commonhold.appraiser.appraise import BYTES_HASHED, request_nonce
from commonhold.appraiser.devauthority import DevGpu
from commonhold.appraiser.policy import Policy
from commonhold.appraiser.request import ComputeRequest, Terms
from commonhold.keyfile import wallet_address
from commonhold.p256 import p256_point
from commonhold.signing import Domain
from commonhold.units import Address, Hash32, address_text, to_hash32

NOW_S = 1_800_000_000
PROVIDER = Address(bytes.fromhex("11" * 20))
STRANGER = Address(bytes.fromhex("22" * 20))
LEDGER = Domain("Ledger", 31337, Address(bytes.fromhex("33" * 20)))
METER_KEY = p256_point(ec.derive_private_key(7, ec.SECP256R1()).public_key())
KEYS = tuple(bytes([n]) * 32 for n in (1, 2, 3))
APPRAISERS = tuple(wallet_address(key) for key in KEYS)

COMPUTE_TERMS = Terms(PROVIDER, "compute/h200-sxm", "development", NOW_S, NOW_S + 3_600, NOW_S + 600)
DATA_TERMS = replace(COMPUTE_TERMS, class_name="data/text", policy=BYTES_HASHED)
MODEL_TERMS = replace(COMPUTE_TERMS, class_name="model/llm", policy=BYTES_HASHED)


@dataclass
class Clock:
    """A clock that stands still until a test moves it."""

    now_s: int = NOW_S

    def __call__(self) -> int:
        return self.now_s


@dataclass
class Appraiser:
    """One that runs. `http` is a client of it."""

    state: AppraiserState
    clock: Clock
    url: str = ""
    http: httpx.Client = field(default_factory=lambda: httpx.Client(verify=False))

    @property
    def address(self) -> Address:
        return wallet_address(self.state.key)

    def challenge(self, registrant: Address = PROVIDER) -> Hash32:
        body = {
            "registrant": address_text(registrant),
            "chain_id": LEDGER.chain_id,
            "ledger": address_text(LEDGER.address),
        }
        answer = self.http.post("/v1/challenges", json=body)
        assert answer.status_code == 201, answer.text
        return to_hash32(answer.json()["challenge"])


def appraiser_of(key: bytes, policies: Sequence[Policy], *, most_bytes: int = 1 << 20) -> Appraiser:
    """An appraiser with a clock of its own; it does not listen yet."""
    clock = Clock()
    named = {policy.name: policy for policy in policies}
    state = AppraiserState(key, named, LEDGER.chain_id, LEDGER.address, clock, most_bytes)
    return Appraiser(state, clock)


@contextmanager
def listening(appraiser: Appraiser, wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app) -> Iterator[Appraiser]:
    """The appraiser on a free loopback port. wrap: puts something between it and the network."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        config = uvicorn.Config(wrap(create_app(appraiser.state)), log_level="error", ws="none", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        appraiser.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=appraiser.url, verify=False) as appraiser.http:
            yield appraiser
        server.should_exit = True
        thread.join()


@contextmanager
def dead_url() -> Iterator[str]:
    """A URL at which nobody listens; the port stays taken, so that nobody else comes to."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def node_request(
    gpus: Sequence[DevGpu], challenges: Sequence[Hash32], terms: Terms = COMPUTE_TERMS, project: str = "G520_0280_895"
) -> ComputeRequest:
    """A request whose GPUs answer exactly what it says."""
    terms = replace(terms, challenges=tuple(challenges))
    nonce = request_nonce(terms, METER_KEY, LEDGER)
    return ComputeRequest(terms, METER_KEY, tuple(gpu.report(nonce, project=project) for gpu in gpus))
