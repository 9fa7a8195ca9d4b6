"""`commonhold asset` for revenue and recovery: claim, share-commons, claim-commons, recover."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from commonhold.cli import common, history
from commonhold.cli.asset import AssetArgument, app
from commonhold.cli.common import DEPLOYMENT, RPC_URL, Chain, DeploymentOption, JsonOption, KeyOption, RpcOption
from commonhold.cli.credits import number
from commonhold.errors import BadInput, NotFound
from commonhold.units import Address, AssetId, CreditId, Hash32, address_text, to_address

if TYPE_CHECKING:
    from commonhold.chain.deployment import ContractName
    from commonhold.chain.send import Mined, Sender
    from commonhold.chain.stamp import BlockStamp

T = TypeVar("T")
RECOVER_AT_ONCE = 40  # assets, credits or leases in one transaction


@app.command()
def claim(
    key: KeyOption,
    asset: Annotated[str | None, typer.Argument(help="Asset id, decimal.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Of every asset that owes something.")] = False,
    account: Annotated[str | None, typer.Option(help="Whose revenue; your own when left out.")] = None,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Have revenue paid out to its account. Anyone may send it, the money goes to nobody else."""
    if (asset is None) != every:
        raise BadInput("claim: expected an asset id or --all, and not both")
    whose = None if account is None else to_address(account)

    async def work() -> None:
        from commonhold import actions
        from commonhold.chain.events import Claimed

        async with common.open_chain(rpc, deployment) as chain:
            sender = chain.sender(key)
            owner = whose or sender.address
            assets = await _owing(chain, owner) if asset is None else [number(asset)]
            rows = []
            for which in assets:
                mined = await actions.claim(sender, which, owner)
                paid = sum(event.amount for event in mined.events if isinstance(event, Claimed))
                row = {"asset": str(which), "account": address_text(owner), "paid": paid}
                rows.append({**row, **common.mined_row(mined)})
        common.show(rows if every else rows[0], as_json=as_json, title="Claimed")

    common.run(work())


@app.command("revenue")
def show_revenue(
    account: Annotated[str, typer.Argument(help="Address of an account, or of a group's root.")],
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Show what an account can claim: of each asset, and of what the commons shared. Asks the chain."""
    owner = to_address(account)

    async def work() -> None:
        async with common.open_chain(rpc, deployment) as chain:
            at, ledger = await chain.rpc.head("latest"), chain.deployment.ledger
            rows: list[dict[str, object]] = []
            for asset in await _owing(chain, owner):
                owed = await chain.rpc.call("Ledger", ledger, "revenueOf", asset, owner, at=at)
                rows.append({"of": str(asset), "owed": owed})
            shared = await chain.rpc.call("Ledger", ledger, "commonsRevenueOf", owner, at=at)
            rows.append({"of": "commons", "owed": shared})
        common.show(rows, as_json=as_json, title="Revenue to claim")

    common.run(work())


@app.command("share-commons")
def share_commons(
    asset: AssetArgument,
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Share what the commons earned with an asset equally among all groups. Anyone may."""

    async def act(_chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import actions
        from commonhold.chain.events import CommonsShared

        mined = await actions.share_commons(sender, number(asset))
        shared = [(event.amount, event.groups) for event in mined.events if isinstance(event, CommonsShared)]
        return {"asset": asset, "shared": sum(part[0] for part in shared), "groups": shared[0][1]}, mined

    common.send(key, rpc, deployment, as_json, act)


@app.command("claim-commons")
def claim_commons(
    key: KeyOption,
    root: Annotated[str | None, typer.Option(help="Root of the group; your own account when left out.")] = None,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Have a group's part of what the commons shared paid out to its root. Anyone may."""
    whose = None if root is None else to_address(root)

    async def act(_chain: Chain, sender: "Sender") -> tuple[common.Row, "Mined"]:
        from commonhold import actions
        from commonhold.chain.events import CommonsClaimed

        owner = whose or sender.address
        mined = await actions.claim_commons(sender, owner)
        paid = sum(event.amount for event in mined.events if isinstance(event, CommonsClaimed))
        return {"root": address_text(owner), "paid": paid}, mined

    common.send(key, rpc, deployment, as_json, act)


@app.command()
def recover(
    member: Annotated[str, typer.Argument(help="Address of a member that was replaced.")],
    key: KeyOption,
    rpc: RpcOption = RPC_URL,
    deployment: DeploymentOption = DEPLOYMENT,
    as_json: JsonOption = False,
) -> None:
    """Move all that a replaced member has to its successor: units, revenue, credits and leases. Anyone may."""
    account = to_address(member)

    async def work() -> None:
        from commonhold import actions

        async with common.open_chain(rpc, deployment) as chain:
            sender, at = chain.sender(key), await chain.rpc.head("latest")
            successor = await chain.rpc.call("Members", chain.deployment.members, "successorOf", account, at=at)
            if not any(successor):
                raise NotFound(f"account {member} was not replaced by another; `commonhold member recover` begins that")
            assets, credits, leases = await _left(chain, account, at)
            mined: list[Mined] = []
            for some in _parts(assets):
                mined += await actions.recover_holdings(sender, account, some, [], [])
            for some_credits in _parts(credits):
                mined += await actions.recover_holdings(sender, account, [], some_credits, [])
            for some_leases in _parts(leases):
                mined += await actions.recover_holdings(sender, account, [], [], some_leases)
        row: dict[str, object] = {"member": member, "successor": address_text(successor)}
        row |= {"assets": len(assets), "credits": len(credits), "leases": len(leases)}
        row |= {"transactions": [common.mined_row(one)["transaction"] for one in mined]}
        common.show(row, as_json=as_json)

    common.run(work())


async def _owing(chain: Chain, account: Address) -> list[AssetId]:
    """The assets that the account has revenue of."""
    from commonhold.chain.events import Registered

    at, ledger = await chain.rpc.head("latest"), chain.deployment.ledger
    every = [event.asset async for event in history.events(chain, "Ledger", at) if isinstance(event, Registered)]
    return [asset for asset in every if await chain.rpc.call("Ledger", ledger, "revenueOf", asset, account, at=at)]


async def _left(chain: Chain, member: Address, at: "BlockStamp") -> tuple[list[AssetId], list[CreditId], list[Hash32]]:
    """Assets, credits and leases that are still the member's."""
    from commonhold.chain.events import LeaseSplit, Redeemed

    d, assets = chain.deployment, []
    for asset in sorted(await _received(chain, "Ledger", member, at)):
        held = await chain.rpc.call("Ledger", d.ledger, "balanceOf", member, asset, at=at)
        owed = await chain.rpc.call("Ledger", d.ledger, "revenueOf", asset, member, at=at)
        operated = (await chain.rpc.call("Ledger", d.ledger, "assetOf", asset, at=at)).operator == member
        if held or owed or operated:
            assets.append(AssetId(asset))
    credits = [
        CreditId(credit)
        for credit in sorted(await _received(chain, "Access", member, at))
        if await chain.rpc.call("Access", d.access, "balanceOf", member, credit, at=at)
    ]
    ever: set[Hash32] = set()
    async for event in history.events(chain, "Access", at):
        match event:
            case Redeemed():
                ever.add(event.lease)
            case LeaseSplit():
                ever.add(event.part)
            case _:
                continue
    leases = [
        lease
        for lease in sorted(ever)
        if (await chain.rpc.call("Access", d.access, "leaseOf", lease, at=at)).holder == member
    ]
    return assets, credits, leases


async def _received(chain: Chain, name: "ContractName", account: Address, at: "BlockStamp") -> set[int]:
    """Ids that the account was ever sent, and the assets that it registered or got to operate."""
    from commonhold.chain.events import Registered, Transfer, UnitsRecovered

    found: set[int] = set()
    async for event in history.events(chain, name, at):
        match event:
            case Transfer() if event.receiver == account:
                found.add(event.id)
            case Registered() if event.registrant == account:
                found.add(event.asset)
            case UnitsRecovered() if event.successor == account:
                found.add(event.asset)
            case _:
                continue
    return found


def _parts(all_of_them: Sequence[T]) -> list[Sequence[T]]:
    return [all_of_them[at : at + RECOVER_AT_ONCE] for at in range(0, len(all_of_them), RECOVER_AT_ONCE)]
