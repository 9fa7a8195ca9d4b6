// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC6909} from "@openzeppelin/contracts/token/ERC6909/ERC6909.sol";

import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {Base} from "./Base.t.sol";

contract DeclineTest is Base {
    uint256 internal asset;

    function setUp() public override {
        super.setUp();
        asset = registerMachine(provider, MOST_HELD);
    }

    function testDecline(uint64 gift, uint64 units) public {
        gift = uint64(bound(gift, 0, MOST_HELD));
        units = uint64(bound(units, 0, gift));
        attach(affiliate, developer);
        vm.prank(provider);
        ledger.transfer(affiliate, asset, gift);

        vm.prank(affiliate);
        ledger.decline(asset, units);

        assertEq(ledger.balanceOf(affiliate, asset), gift - units);
        assertEq(ledger.commonsOf(asset), units);
        assertEq(ledger.heldBy(GPUS, affiliate), gift - units);
        assertEq(ledger.heldBy(GPUS, developer), gift - units);
        assertEq(ledger.classOf(GPUS).total, MOST_HELD, "what is declined stays in the total");
    }

    /// T-REX MaxBalance has no way to give back: gifts eat headroom, and giving them up is free.
    function testDeclineGivesHeadroomBack() public {
        vm.prank(provider);
        ledger.transfer(developer, asset, MOST_HELD);
        assertEq(ledger.headroom(GPUS, developer), 0);

        vm.prank(developer);
        ledger.decline(asset, MOST_HELD);

        assertEq(ledger.headroom(GPUS, developer), MOST_HELD);
    }

    /// A cap stops increases, never exits.
    function testDeclineOverTheLimit(uint64 units) public {
        units = uint64(bound(units, 0, MOST_HELD));
        registerMachine(developer, MOST_HELD);
        attach(developer, provider);
        assertTrue(ledger.isOver(GPUS, provider));

        vm.prank(provider);
        ledger.decline(asset, units);

        assertEq(ledger.heldBy(GPUS, provider), 2 * MOST_HELD - units);
    }

    function testDeclineByALapsedMember() public {
        skipTo(UNTIL);
        vm.prank(provider);
        ledger.decline(asset, GPU);

        assertEq(ledger.commonsOf(asset), GPU);
    }

    function testDeclineMoreThanOneHas(uint64 units) public {
        units = uint64(bound(units, MOST_HELD + 1, type(uint64).max));
        vm.expectRevert(
            abi.encodeWithSelector(ERC6909.ERC6909InsufficientBalance.selector, provider, MOST_HELD, units, asset)
        );
        vm.prank(provider);
        ledger.decline(asset, units);
    }

    function testDeclineByAReplacedMember() public {
        recover(provider, stranger);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IMembers.Replaced.selector, provider, stranger));
        ledger.decline(asset, GPU);
    }

    function testGiftToOneWhoRefuses(uint64 units) public {
        units = uint64(bound(units, 0, MOST_HELD));
        refuseGifts(developer);
        assertFalse(ledger.canTransfer(provider, developer, asset, units));
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(ILedger.RefusesGifts.selector, developer));
        ledger.transfer(developer, asset, units);

        vm.prank(provider);
        ledger.approve(developer, asset, units);
        vm.prank(developer);
        ledger.transferFrom(provider, developer, asset, units);
        assertEq(ledger.balanceOf(developer, asset), units, "what it fetches itself is no gift");
    }

    function testGiftInsideAGroupIsNone(uint64 units) public {
        units = uint64(bound(units, 0, MOST_HELD));
        attach(affiliate, provider);
        refuseGifts(affiliate);

        vm.prank(provider);
        ledger.transfer(affiliate, asset, units);

        assertEq(ledger.balanceOf(affiliate, asset), units);
    }
}
