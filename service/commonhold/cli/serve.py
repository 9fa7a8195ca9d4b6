"""`commonhold serve`: the service. One process: the HTTP API, and the loops that follow, settle and anchor."""

import asyncio
import gc
import time
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commonhold import worker
from commonhold.cli.common import out, run
from commonhold.config import Settings
from commonhold.errors import BadInput
from commonhold.listen import listen, port_of
from commonhold.units import address_text

if TYPE_CHECKING:
    from commonhold.api.deps import AppState
    from commonhold.chain.send import Sender

KEY_ROTATION_S = 30 * 86_400
FORGET_S = 60.0
PROGRESS_S = 5.0  # between two lines about a mirror that is catching up


def serve(
    database_url: Annotated[str | None, typer.Option(help="sqlite:///path or postgresql://...")] = None,
    rpc_url: Annotated[
        list[str] | None,
        typer.Option(
            "--rpc",
            help="JSON-RPC endpoint of the chain; again for one to fall back on, and ws:// or wss:// for new heads.",
        ),
    ] = None,
    deployment: Annotated[Path | None, typer.Option(help="Deployment file: chain id and addresses.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the service's own keys.")] = None,
    relayer_key: Annotated[
        Path | None, typer.Option(help="Key file of the account that relays, settles and anchors; without: read only.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; default 8000, 0 takes a free one.")] = None,
    issuer: Annotated[str | None, typer.Option(help="Public URL of the service; default http://HOST:PORT.")] = None,
    rpc_quorum: Annotated[
        int | None,
        typer.Option(help="How many endpoints must agree on every block; default 1: the first that answers."),
    ] = None,
    tier: Annotated[str | None, typer.Option(help="Which blocks are believed: latest, safe or finalized.")] = None,
    admit_tier: Annotated[
        str | None, typer.Option(help="How settled memberships and appraisals must be to count for a token.")
    ] = None,
    redeem_tier: Annotated[
        str | None, typer.Option(help="How settled a redemption must be before tokens are issued for its lease.")
    ] = None,
    settle_tier: Annotated[
        str | None, typer.Option(help="How settled a redemption must be before its receipts are settled and anchored.")
    ] = None,
    verify_logs: Annotated[
        bool | None,
        typer.Option(
            "--verify-logs/--no-verify-logs",
            help="Recompute every header and receipt; no only on chains whose forms differ from Ethereum's.",
        ),
    ] = None,
    spot_checks: Annotated[
        int | None, typer.Option(help="Rows of each kind to compare with proofs of storage each time; default 0: none.")
    ] = None,
    spot_check_s: Annotated[float | None, typer.Option(help="How often, default every 300 seconds.")] = None,
    poll_s: Annotated[float | None, typer.Option(help="How often new blocks are asked for.")] = None,
    max_head_age_s: Annotated[
        int | None, typer.Option(help="Ready only while the newest block is younger; 0: any age. Default 300.")
    ] = None,
    token_ttl_s: Annotated[int | None, typer.Option(help="Lifetime of an access token, 300 at most.")] = None,
    quantum_s: Annotated[int | None, typer.Option(help="GPU-seconds a token allows beyond the last receipt.")] = None,
    settle_s: Annotated[float | None, typer.Option(help="How often receipts are settled on chain.")] = None,
    epoch_s: Annotated[float | None, typer.Option(help="How often an epoch is closed and anchored.")] = None,
) -> None:
    """Follow the chain, issue access tokens, meter, settle, anchor, and serve the API and the page.

    Every option can be set as COMMONHOLD_<NAME> instead, --rpc as COMMONHOLD_RPC_URL.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    if rpc_url:
        given["rpc_url"] = ",".join(rpc_url)
    run(_serve(read_settings(given)))


def read_settings(given: dict[str, object]) -> Settings:
    """Options over environment over defaults. Raises BadInput naming the first setting that is wrong."""
    from pydantic import ValidationError

    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise BadInput(f"setting {name}: {first['msg'].lower()}, got {first.get('input')!r}") from error


async def _serve(settings: Settings) -> None:
    import uvicorn

    from commonhold.api.app import create_app
    from commonhold.chain import heads

    with closing(listen(settings.host, settings.port)) as listener:
        settings = settings.model_copy(update={"port": port_of(listener)})
        async with AsyncExitStack() as stack:
            state = await open_state(settings, stack)
            stages = make_stages(settings, state, stack)
            state.faults = lambda: worker.faults(stages)
            state.integrity = lambda: worker.integrity_faults(stages)
            _introduce(settings, state)
            stop = asyncio.Event()
            config = uvicorn.Config(create_app(state), log_level="warning", lifespan="off")
            # What is loaded by now stays for ever: no full collection needs to look at it again, which recording
            # segments would pay for (tests/bench/metering.py does the same).
            gc.collect()
            gc.freeze()
            loops = asyncio.create_task(worker.run(stages, stop))
            follow = next(stage for stage in stages if stage.name == "follow")
            announced = [asyncio.create_task(heads.announced(url, follow.wake.set)) for url in settings.head_urls]
            try:
                await uvicorn.Server(config).serve(sockets=[listener])
            finally:
                stop.set()
                for task in announced:
                    task.cancel()
                await asyncio.gather(*announced, return_exceptions=True)
                await loops


def _introduce(settings: Settings, state: "AppState") -> None:
    """What runs, where, for whom: one line each."""
    relays = f"relays, settles and anchors as {address_text(state.sender.address)}" if state.sender else "reads only"
    out.print(f"service   {state.issuer}, {relays}", soft_wrap=True)
    # The host alone: paths of RPC URLs hold keys.
    out.print(f"chain     {state.rpc.host}, chain id {state.deployment.chain_id}, tier {state.tier}", soft_wrap=True)
    from sqlalchemy.engine import make_url

    out.print(f"database  {make_url(settings.database_url).render_as_string()}", soft_wrap=True)


async def open_state(settings: Settings, stack: AsyncExitStack) -> "AppState":
    """All that the service is made of, opened and checked: database, chain, keys."""
    from commonhold import db, migrate
    from commonhold.access.dpop import NonceKeys
    from commonhold.access.keys import SigningKeys
    from commonhold.api.deps import AppState
    from commonhold.chain.apart import Apart
    from commonhold.chain.deployment import Deployment
    from commonhold.chain.quorum import connect
    from commonhold.chain.send import Sender
    from commonhold.keyfile import read_or_write_secret, read_wallet
    from commonhold.mirror.follow import Follower, Tally
    from commonhold.mirror.tiers import Tiers

    if settings.spot_checks and not settings.verify_logs:
        raise BadInput("spot checks prove storage against headers, which --no-verify-logs does not recompute")
    deployment = Deployment.load(settings.deployment)
    relayer = read_wallet(settings.relayer_key) if settings.relayer_key else None
    if settings.database_url.startswith("sqlite:///"):
        Path(settings.database_url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = db.make_engine(settings.database_url)
    stack.push_async_callback(engine.dispose)
    await migrate.upgrade(engine)
    apart = Apart()
    stack.push_async_callback(apart.close)
    rpc = connect(settings.rpc_urls, verify_logs=settings.verify_logs, quorum=settings.rpc_quorum, apart=apart)
    stack.push_async_callback(rpc.close)
    # The first step refuses another chain, another deployment and another database, before anybody is answered.
    tally, started = Tally(), time.monotonic()
    follower = Follower(rpc, deployment, engine, tier=settings.tier, tally=tally)
    try:
        await follower.step()
    finally:
        await follower.close()
    if tally.events:
        tally.first_row_ms = round(1_000 * (time.monotonic() - started))
    sender = Sender(rpc, relayer, deployment) if relayer else None
    now_s = int(time.time())
    at = await rpc.head("latest")
    return AppState(
        engine=engine,
        rpc=rpc,
        deployment=deployment,
        sender=sender,
        signing_keys=SigningKeys.open(settings.data_dir / "signing", now_s=now_s),
        nonce_keys=NonceKeys(read_or_write_secret(settings.data_dir / "nonce.key")),
        issuer=settings.issuer_url,
        window_seconds=int(await rpc.call("Access", deployment.access, "windowSeconds", at=at)),
        submitter=sender.address if sender else deployment.deployer,
        quantum_ms=settings.quantum_s * 1_000,
        token_ttl_s=settings.token_ttl_s,
        clock=lambda: int(time.time()),
        tally=tally,
        tier=settings.tier,
        tiers=Tiers(admit=settings.admit_tier, redeem=settings.redeem_tier, settle=settings.settle_tier),
        max_head_age_s=settings.head_age_s(deployment.chain_id),
    )


def make_stages(settings: Settings, state: "AppState", stack: AsyncExitStack) -> list[worker.Stage]:
    """The loops of a service: following always, settling and anchoring when there is an account that can send."""
    from commonhold import db
    from commonhold.access import issue
    from commonhold.mirror.follow import Follower
    from commonhold.mirror.spot import spot_check

    follower = Follower(state.rpc, state.deployment, state.engine, tier=settings.tier, tally=state.tally)
    stack.push_async_callback(follower.close)

    started = told = time.monotonic()

    async def follow() -> bool:
        nonlocal told
        progress = await follower.step()
        if progress.events and state.tally.first_row_ms is None:
            state.tally.first_row_ms = round(1_000 * (time.monotonic() - started))
        if not progress.idle and time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            head = await state.rpc.head(settings.tier)
            out.print(f"mirror    block {progress.to_number} of {head.number}")
        return not progress.idle

    async def forget() -> bool:
        async with db.write(state.engine) as writer:
            await issue.forget(writer, state.clock())
        if state.clock() - state.signing_keys.keys[-1].since > KEY_ROTATION_S:
            state.signing_keys = state.signing_keys.rotate(now_s=state.clock())
        return False

    async def compare() -> bool:
        state.tally.compared += await spot_check(state.engine, state.rpc, state.deployment, settings.spot_checks)
        return False

    stages = [
        worker.Stage("follow", follow, settings.poll_s, integrity=True),
        worker.Stage("forget", forget, FORGET_S),
    ]
    if settings.spot_checks:
        stages.append(worker.Stage("spot-check", compare, settings.spot_check_s, integrity=True))
    if state.sender is not None:
        stages += _sending_stages(settings, state, state.sender)
    return stages


def _sending_stages(settings: Settings, state: "AppState", sender: "Sender") -> list[worker.Stage]:
    """Each is safe to repeat: what the chain has already is skipped there, and here once the mirror shows it.

    Nothing is sent while the mirror is in doubt: which receipts and epochs the chain lacks is the mirror's word.
    """
    from commonhold import db
    from commonhold.anchor import batch, publish
    from commonhold.api.deps import trusted
    from commonhold.meter.settle import settle
    from commonhold.meter.totals import Closing
    from commonhold.mirror.tiers import settled

    closing = Closing(state.window_seconds, state.deployment.genesis.settle_delay)

    async def settle_receipts() -> bool:
        trusted(state)
        until = await settled(state.engine, state.rpc, state.tiers.settle)
        return await settle(state.engine, sender, closing=closing, redeemed_until=until) is not None

    async def anchor_epochs() -> bool:
        trusted(state)
        domain = state.deployment.domain("Meter")
        until = await settled(state.engine, state.rpc, state.tiers.settle)
        async with db.write(state.engine) as writer:
            await batch.close(
                writer, domain=domain, submitter=sender.address, now_s=state.clock(), redeemed_until=until
            )
        await publish.publish(state.engine, sender, base_uri=state.issuer)
        return False

    return [
        worker.Stage("settle", settle_receipts, settings.settle_s),
        worker.Stage("anchor", anchor_epochs, settings.epoch_s),
    ]
