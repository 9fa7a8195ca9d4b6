// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC6909} from "@openzeppelin/contracts/token/ERC6909/ERC6909.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {Base} from "./Base.t.sol";

/// Units of the ledger; credits of Access below.
contract TransferTest is Base {
    uint256 internal asset;
    address internal lapsed;

    function setUp() public override {
        super.setUp();
        asset = registerMachine(provider, MOST_HELD);
        lapsed = _actor("lapsed");
        admit(lapsed, START + 1);
    }

    /// The model of a transfer: whatever the numbers, the contract does what these lines say and nothing else.
    function testTransfer(uint64 before, uint256 units, bool together) public {
        before = uint64(bound(before, 1, MOST_HELD));
        units = units % 4 == 0 ? units : bound(units, 0, MOST_HELD + 1);
        uint256 other = registerMachine(developer, before);
        if (together) attach(developer, provider);
        bool enough = units <= MOST_HELD;
        bool fits = together || units == 0 || (enough && before + units <= MOST_HELD);
        assertEq(ledger.canTransfer(provider, developer, asset, units), fits && enough);

        if (!enough) {
            vm.expectRevert(
                abi.encodeWithSelector(ERC6909.ERC6909InsufficientBalance.selector, provider, MOST_HELD, units, asset)
            );
        } else if (!fits) {
            vm.expectRevert(
                abi.encodeWithSelector(ILedger.OverHoldingLimit.selector, GPUS, developer, before + units, MOST_HELD)
            );
        }
        vm.prank(provider);
        ledger.transfer(developer, asset, units);

        uint256 moved = fits && enough ? units : 0;
        assertEq(ledger.balanceOf(provider, asset), MOST_HELD - moved);
        assertEq(ledger.balanceOf(developer, asset), moved);
        assertEq(ledger.balanceOf(developer, other), before);
        assertEq(ledger.heldBy(GPUS, provider), together ? MOST_HELD + before : MOST_HELD - moved);
        assertEq(ledger.heldBy(GPUS, developer), before + moved, "also of a node that is no root");
        assertEq(ledger.classOf(GPUS).total, MOST_HELD + before);
    }

    /// T-REX MaxBalance adds before it compares identities: a group at its limit moves what it owns between its own wallets, and to itself.
    function testTransferInsideAGroupAtItsLimit(uint64 units) public {
        units = uint64(bound(units, 0, MOST_HELD));
        attach(affiliate, provider);
        assertEq(ledger.headroom(GPUS, provider), 0);

        vm.startPrank(provider);
        ledger.transfer(affiliate, asset, units);
        ledger.transfer(provider, asset, MOST_HELD - units);
        vm.stopPrank();

        assertEq(ledger.balanceOf(affiliate, asset), units);
        assertEq(ledger.heldBy(GPUS, provider), MOST_HELD);
    }

    /// T-REX recoveryAddress reverts above a lowered cap: a group over its limit (a merge) still reaches a new wallet when a key is lost, without an agent.
    function testTransferToANewWalletOfAGroupOverItsLimit(uint64 units) public {
        units = uint64(bound(units, 0, MOST_HELD));
        registerMachine(developer, MOST_HELD);
        attach(developer, provider);
        attach(affiliate, provider);
        assertTrue(ledger.isOver(GPUS, provider));

        vm.prank(provider);
        ledger.transfer(affiliate, asset, units);

        assertEq(ledger.balanceOf(affiliate, asset), units);
    }

    /// T-REX updateIdentity moves the wallet and not the balance: after a join the wallet's next transfer works, and its old totals are not left behind.
    function testTransferAfterAJoin(uint64 units) public {
        units = uint64(bound(units, 1, MOST_HELD));
        attach(provider, affiliate);
        assertEq(ledger.headroom(GPUS, provider), 0);

        vm.prank(provider);
        ledger.transfer(developer, asset, units);

        assertEq(ledger.heldBy(GPUS, affiliate), MOST_HELD - units, "of the group");
        assertEq(ledger.heldBy(GPUS, provider), MOST_HELD - units, "its own");
        assertEq(ledger.heldBy(GPUS, developer), units);
    }

    /// T-REX requires a value above 0: a transfer of nothing is a transfer, also to a group at or over its limit, also of nothing known.
    function testTransferZero(uint256 anything) public {
        registerMachine(developer, MOST_HELD);
        attach(developer, affiliate);
        vm.startPrank(stranger);
        assertTrue(ledger.canTransfer(stranger, developer, asset, 0));
        ledger.transfer(developer, asset, 0);
        ledger.transfer(developer, anything, 0);
    }

    /// tx-chain 108, others push a holder over: a gift fills headroom, and can push nobody over.
    function testTransferGiftPushesNobodyOver(uint64 held, uint64 gift) public {
        held = uint64(bound(held, 1, MOST_HELD));
        gift = uint64(bound(gift, 1, MOST_HELD));
        registerMachine(developer, held);

        vm.prank(provider);
        try ledger.transfer(developer, asset, gift) {} catch {}

        assertFalse(ledger.isOver(GPUS, developer));
    }

    /// A limit lifted within a block is no limit: new units count from the next block on.
    function testTransferAgainstATotalInflatedInTheSameBlock(uint64 units) public {
        units = uint64(bound(units, FLOOR, MAX_UNITS - FLOOR));
        registerMachine(developer, MOST_HELD);
        register(machine(units), noShares());

        vm.prank(provider);
        vm.expectRevert(
            abi.encodeWithSelector(ILedger.OverHoldingLimit.selector, GPUS, developer, MOST_HELD + 1, MOST_HELD)
        );
        ledger.transfer(developer, asset, 1);
        nextBlock();
        vm.prank(provider);
        ledger.transfer(developer, asset, 1);
    }

    function testTransferFromALapsedMember(uint64 units) public {
        units = uint64(bound(units, 0, GPU));
        vm.prank(provider);
        ledger.transfer(lapsed, asset, GPU);
        vm.warp(START + 1);

        vm.prank(lapsed);
        ledger.transfer(developer, asset, units);

        assertEq(ledger.balanceOf(developer, asset), units);
    }

    function testTransferToNoActiveMember(uint64 units) public {
        units = uint64(bound(units, 0, MOST_HELD));
        vm.warp(START + 1);
        address[5] memory receivers = [stranger, lapsed, address(ledger), address(access), address(1)];
        for (uint256 i; i < receivers.length; ++i) {
            assertFalse(ledger.canTransfer(provider, receivers[i], asset, units));
            vm.prank(provider);
            vm.expectRevert(abi.encodeWithSelector(ILedger.NotActiveMember.selector, receivers[i]));
            ledger.transfer(receivers[i], asset, units);
        }
    }

    /// Units come to the commons at registration and by `decline`, never by mistake.
    function testTransferToTheCommons(uint64 units) public {
        units = uint64(bound(units, 0, MOST_HELD));
        assertFalse(ledger.canTransfer(provider, address(ledger), asset, units));
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotActiveMember.selector, address(ledger)));
        ledger.transfer(address(ledger), asset, units);
    }

    /// tokemak 860, a limit that also held for the zero address: no limit looks at the zero address, and nothing can be sent to it.
    function testTransferToZero(uint64 units) public {
        assertFalse(ledger.canTransfer(provider, address(0), asset, units));
        assertFalse(ledger.canTransfer(address(0), provider, asset, 0));
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(ERC6909.ERC6909InvalidReceiver.selector, address(0)));
        ledger.transfer(address(0), asset, units);
    }

    function testTransferFromByAllowance(uint64 allowed, uint64 units) public {
        units = uint64(bound(units, 0, MOST_HELD));
        vm.prank(provider);
        ledger.approve(relayer, asset, allowed);

        if (units > allowed) {
            vm.expectRevert(
                abi.encodeWithSelector(ERC6909.ERC6909InsufficientAllowance.selector, relayer, allowed, units, asset)
            );
        }
        vm.prank(relayer);
        ledger.transferFrom(provider, developer, asset, units);

        assertEq(ledger.balanceOf(developer, asset), units > allowed ? 0 : units);
    }
}

contract TransferCreditsTest is Base {
    uint256 internal asset;
    uint256 internal id;
    uint32 internal window;

    function setUp() public override {
        super.setUp();
        asset = register(machine(50 * GPU), noShares());
        window = access.currentWindow() + 1;
        id = open(asset, window, 0);
        grant(id, developer, MOST_USED);
    }

    function testTransferCredits(uint64 before, uint64 amount, bool together) public {
        before = uint64(bound(before, 1, MOST_USED));
        amount = uint64(bound(amount, 0, MOST_USED));
        grant(id, affiliate, before);
        if (together) attach(affiliate, developer);
        bool fits = together || amount == 0 || uint256(before) + amount <= MOST_USED;

        if (!fits) {
            vm.expectRevert(
                abi.encodeWithSelector(
                    IAccess.OverUseLimit.selector, GPUS, window, affiliate, uint256(before) + amount, MOST_USED
                )
            );
        }
        vm.prank(developer);
        access.transfer(affiliate, id, amount);

        uint256 moved = fits ? amount : 0;
        assertEq(access.balanceOf(developer, id), MOST_USED - moved);
        assertEq(access.balanceOf(affiliate, id), before + moved);
        assertEq(access.acquiredBy(GPUS, window, developer), together ? MOST_USED + before : MOST_USED - moved);
        assertEq(access.acquiredBy(GPUS, window, affiliate), before + moved);
        assertEq(access.issued(asset, window), MOST_USED + before);
    }

    function testTransferCreditsToAGroupOverItsHoldingLimit(uint64 amount) public {
        amount = uint64(bound(amount, 1, MOST_USED));
        registerMachine(provider, MOST_HELD);
        registerMachine(affiliate, MOST_HELD);
        attach(affiliate, provider);
        vm.startPrank(developer);
        access.transfer(affiliate, id, 0);
        vm.expectRevert(abi.encodeWithSelector(IAccess.HoldsOverLimit.selector, GPUS, provider));
        access.transfer(affiliate, id, amount);
    }

    function testTransferCreditsToNoActiveMember(uint64 amount) public {
        amount = uint64(bound(amount, 0, MOST_USED));
        vm.prank(developer);
        vm.expectRevert(abi.encodeWithSelector(IAccess.NotActiveMember.selector, stranger));
        access.transfer(stranger, id, amount);
    }

    /// v4-core 1021, sentiment-v2 86: ERC-6909 without a look at the zero address.
    function testTransferCreditsToZero(uint64 amount) public {
        vm.prank(developer);
        vm.expectRevert(abi.encodeWithSelector(ERC6909.ERC6909InvalidReceiver.selector, address(0)));
        access.transfer(address(0), id, amount);
    }

    /// A window that has ended holds nobody back, and its totals stay what they were at its end.
    function testTransferCreditsOfAnEndedWindow(uint64 amount) public {
        amount = uint64(bound(amount, 0, MOST_USED));
        grant(id, affiliate, MOST_USED);
        vm.warp(uint256(window + 1) * WINDOW);

        vm.prank(developer);
        access.transfer(affiliate, id, amount);

        assertEq(access.balanceOf(affiliate, id), MOST_USED + amount);
        assertEq(access.acquiredBy(GPUS, window, developer), MOST_USED);
        assertEq(access.acquiredBy(GPUS, window, affiliate), MOST_USED);
        attach(affiliate, developer);
        assertEq(access.acquiredBy(GPUS, window, affiliate), MOST_USED, "nor does a join move them");
    }
}
