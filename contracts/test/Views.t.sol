// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    IERC6909,
    IERC6909ContentURI,
    IERC6909Metadata,
    IERC6909TokenSupply
} from "@openzeppelin/contracts/interfaces/IERC6909.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {Kind} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

contract ViewsTest is Base {
    function testMembers() public view {
        assertEq(members.attesters(), addressesOf(attesterKeys));
        assertEq(members.threshold(), THRESHOLD);
        assertEq(members.admissionsPerDay(), ADMISSIONS);
        assertTrue(members.isAttester(addressOf(attesterKeys[0])));
        assertFalse(members.isAttester(addressOf(appraiserKeys[0])));
        assertEq(members.ledger(), address(ledger));
        assertEq(members.access(), address(access));
    }

    function testVotesOfTheFutureAreUnknown(uint256 timepoint) public {
        timepoint = timepoint % 2 == 0 ? START : bound(timepoint, START, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotPast.selector, timepoint, START));
        members.getPastVotes(provider, timepoint);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotPast.selector, timepoint, START));
        members.getPastTotalSupply(timepoint);
    }

    function testLedger() public view {
        assertEq(ledger.appraisers(), addressesOf(appraiserKeys));
        assertEq(ledger.threshold(), THRESHOLD);
        assertTrue(ledger.isAppraiser(addressOf(appraiserKeys[0])));
        assertFalse(ledger.isAppraiser(addressOf(attesterKeys[0])));
        assertEq(ledger.members(), address(members));
        assertEq(ledger.access(), address(access));
        assertEq(ledger.meter(), address(meter));
        assertEq(ledger.token(), address(coin));
        assertEq(ledger.timelock(), address(timelock));
        assertEq(ledger.maxClasses(), maxClasses());
        assertEq(ledger.gracePeriod(), GRACE);
        bytes32[] memory ids = ledger.classIds();
        assertEq(ids.length, 3);
        assertEq(ids[0], GPUS);
        assertEq(ids[1], TEXT);
        assertEq(ids[2], LLM);
        assertEq(
            abi.encode(ledger.classOf(GPUS)),
            abi.encode(ILedger.Class(Kind.COMPUTE, HOLD_BPS, USE_BPS, 3, FLOOR, 0, 0, 0))
        );
    }

    function testAccessAndMeter() public view {
        assertEq(access.windowSeconds(), WINDOW);
        assertEq(access.currentWindow(), START / WINDOW);
        assertEq(access.horizon(), HORIZON);
        assertEq(access.token(), address(coin));
        assertEq(access.members(), address(members));
        assertEq(access.ledger(), address(ledger));
        assertEq(access.meter(), address(meter));
        assertEq(meter.ledger(), address(ledger));
        assertEq(meter.access(), address(access));
        assertEq(meter.members(), address(members));
        assertEq(coin.decimals(), 6);
    }

    /// What nobody registered, admitted or opened reads as nothing, and never fails.
    function testUnknown(bytes32 word, uint256 id, address account, uint32 window) public view {
        vm.assume(!isMember(account) && word != GPUS && word != TEXT && word != LLM);
        assertEq(members.rootOf(account), account);
        assertFalse(members.isActive(account));
        assertFalse(members.nullifierUsed(word));
        ILedger.Asset memory nothing;
        assertEq(abi.encode(ledger.assetOf(id)), abi.encode(nothing));
        assertFalse(ledger.isLive(id));
        assertEq(ledger.capBase(word), 0);
        assertEq(ledger.heldBy(word, account), 0);
        assertEq(ledger.headroom(word, account), 0);
        assertFalse(ledger.isOver(word, account));
        assertEq(ledger.assetOfDevice(word), 0);
        assertEq(ledger.totalSupply(id), 0);
        assertEq(ledger.name(id), "");
        assertEq(ledger.symbol(id), "");
        assertEq(ledger.tokenURI(id), "");
        assertEq(ledger.commonsOf(id), 0);
        assertEq(ledger.revenueOf(id, account), 0);
        assertEq(ledger.commonsRevenueOf(account), 0);
        assertFalse(ledger.isSynced(id, account));
        assertFalse(ledger.canReceive(account));
        assertTrue(ledger.canSend(account));
        assertEq(ledger.getFrozenTokens(account, id), 0);
        assertEq(access.leaseOf(word).holder, address(0));
        assertEq(access.capacity(id), 0);
        assertEq(access.issued(id, window), 0);
        assertEq(access.acquiredBy(word, window, account), 0);
        assertEq(access.redeemedBy(word, window, account), 0);
        assertEq(access.useHeadroom(word, window, account), 0);
        (bool isOpen, uint128 price) = access.priceOf(id);
        assertFalse(isOpen);
        assertEq(price, 0);
        assertEq(meter.settledMs(word), 0);
    }

    function testMetadata() public {
        uint256 asset = registerMachine(provider, 8 * GPU);

        assertEq(ledger.name(asset), "compute/h100-sxm");
        assertEq(ledger.symbol(asset), "H100 SXM GPU");
        assertEq(ledger.decimals(asset), 6);
        assertEq(ledger.totalSupply(asset), 8 * GPU);
        assertEq(ledger.tokenURI(asset), "ipfs://manifest");
        assertEq(ledger.contractURI(), 'data:application/json,{"name":"Commonhold Ledger"}');
    }

    /// ERC-7943 has views, which are here, and a freeze and a forced transfer, which nobody has: so its id is not claimed.
    function testSendAndReceive() public {
        address lapsed = _actor("lapsed");
        admit(lapsed, START + 1 days);
        refuseGifts(affiliate);
        assertTrue(ledger.canReceive(lapsed));
        vm.warp(START + 1 days);

        assertTrue(ledger.canSend(lapsed));
        assertFalse(ledger.canReceive(lapsed), "lapsed");
        assertFalse(ledger.canReceive(affiliate), "takes only what it asks for");
        assertFalse(ledger.canReceive(address(ledger)), "the commons");
        assertTrue(ledger.canReceive(provider));
        recover(provider, stranger);
        assertFalse(ledger.canSend(provider), "replaced");
        assertFalse(ledger.canReceive(provider), "replaced");
        assertFalse(ledger.supportsInterface(0x41c4fbad));
    }

    function testSupportsInterface(bytes4 other) public view {
        bytes4[5] memory known = [
            type(IERC165).interfaceId,
            type(IERC6909).interfaceId,
            type(IERC6909TokenSupply).interfaceId,
            type(IERC6909Metadata).interfaceId,
            type(IERC6909ContentURI).interfaceId
        ];
        bool isKnown;
        for (uint256 i; i < known.length; ++i) {
            assertTrue(ledger.supportsInterface(known[i]));
            isKnown = isKnown || other == known[i];
        }
        assertEq(ledger.supportsInterface(other), isKnown);
        assertFalse(ledger.supportsInterface(0xffffffff));
        assertTrue(access.supportsInterface(type(IERC6909).interfaceId));
    }

    /// The three views of one limit agree, and `headroom` is what a transfer accepts to the unit.
    function testLimits(uint64 total, uint64 held, uint16 seed) public {
        total = uint64(bound(total, 1, MAX_UNITS / 2));
        uint256 asset = register(machine(total), oneShare(provider, total));
        nextBlock();
        held = uint64(bound(held, 1, MAX_UNITS / 2));
        uint256 other = register(machine(held), oneShare(developer, held));
        if (seed % 2 == 0) nextBlock();

        uint256 base = seed % 2 == 0 ? uint256(total) + held : total;
        if (base < FLOOR) base = FLOOR;
        assertEq(ledger.capBase(GPUS), base);
        uint256 most = base * HOLD_BPS / 10_000;
        uint256 own = ledger.heldBy(GPUS, developer);
        assertEq(own, ledger.balanceOf(developer, other));
        assertEq(ledger.headroom(GPUS, developer), own > most ? 0 : most - own);
        assertEq(ledger.isOver(GPUS, developer), own > most);
        uint256 units = bound(seed, 0, ledger.balanceOf(provider, asset));
        bool can = ledger.canTransfer(provider, developer, asset, units);
        assertEq(can, units <= ledger.headroom(GPUS, developer));

        vm.prank(provider);
        try ledger.transfer(developer, asset, units) {
            assertTrue(can);
        } catch {
            assertFalse(can);
        }
        uint32 window = access.currentWindow();
        assertEq(access.useHeadroom(GPUS, window, developer), base * WINDOW * USE_BPS / 1e10);
    }
}
