// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {Base} from "./Base.t.sol";

/// What a member has whose key was lost: all of it goes to its successor, and nothing else changes.
contract RecoverUnitsTest is Base {
    uint256 internal asset;
    uint256[] internal assets;
    address internal successor;

    function setUp() public override {
        super.setUp();
        asset = registerMachine(provider, 20 * GPU);
        assets.push(asset);
        successor = _actor("successor");
    }

    function testRecoverUnits(uint64 amount, uint64 moved, bool controlled) public {
        moved = uint64(bound(moved, 0, 20 * GPU));
        amount = uint64(bound(amount, 0, type(uint64).max));
        if (controlled) attach(provider, developer);
        _accrue(amount);
        vm.prank(provider);
        ledger.transfer(affiliate, asset, moved);
        uint256 revenue = ledger.revenueOf(asset, provider);
        recover(provider, successor);

        vm.expectEmit(address(ledger));
        emit ILedger.UnitsRecovered(asset, provider, successor, 20 * GPU - moved, revenue);
        vm.prank(relayer);
        ledger.recover(provider, assets);

        assertEq(ledger.balanceOf(provider, asset), 0);
        assertEq(ledger.balanceOf(successor, asset), 20 * GPU - moved);
        assertEq(ledger.revenueOf(asset, provider), 0);
        assertEq(ledger.revenueOf(asset, successor), revenue);
        assertEq(ledger.heldBy(GPUS, provider), 0);
        assertEq(ledger.heldBy(GPUS, successor), 20 * GPU - moved);
        assertEq(ledger.heldBy(GPUS, affiliate), moved);
        if (controlled) assertEq(ledger.heldBy(GPUS, developer), 20 * GPU - moved);
        assertEq(ledger.assetOf(asset).operator, successor);
        ledger.recover(provider, assets); // again: there is nothing left, and nothing happens
        assertEq(ledger.balanceOf(successor, asset), 20 * GPU - moved);
    }

    /// T-REX: a cap that was lowered below a holder makes the recovery of its key revert.
    function testRecoverUnitsOverTheLimit(uint16 lower) public {
        lower = uint16(bound(lower, HOLD_BPS - 500, HOLD_BPS - 1));
        vm.prank(provider);
        ledger.transfer(developer, asset, GPU);
        registerMachine(provider, 6 * GPU);
        change(address(ledger), "holdBps", GPUS, lower);
        assertTrue(ledger.isOver(GPUS, provider));
        recover(provider, successor);

        ledger.recover(provider, assets);

        assertEq(ledger.balanceOf(successor, asset), 19 * GPU);
        assertTrue(ledger.isOver(GPUS, successor));
    }

    /// Soroban's RWA token: a recovery in two steps lets a holder end with twice the cap and leaves a ghost behind.
    function testRecoverUnitsLeavesNoGhost() public {
        recover(provider, successor);
        assertEq(ledger.headroom(GPUS, successor), 5 * GPU, "charged before its units have come");
        vm.prank(developer);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotActiveMember.selector, provider));
        ledger.transfer(provider, asset, 0);

        ledger.recover(provider, assets);

        assertEq(ledger.headroom(GPUS, successor), 5 * GPU);
        assertEq(ledger.heldBy(GPUS, provider), 0);
    }

    /// What the member controlled stays controlled, by who stands in its place.
    function testRecoverUnitsOfAController() public {
        attach(affiliate, provider);
        vm.prank(provider);
        ledger.transfer(affiliate, asset, 5 * GPU);
        recover(provider, successor);
        assertEq(members.rootOf(affiliate), successor);
        ledger.recover(provider, assets);

        assertEq(ledger.heldBy(GPUS, successor), 20 * GPU);
        assertEq(ledger.heldBy(GPUS, provider), 5 * GPU, "what still comes through its node");
        detach(affiliate);
        assertEq(ledger.heldBy(GPUS, successor), 15 * GPU);
        assertEq(ledger.heldBy(GPUS, provider), 0);
        assertEq(ledger.heldBy(GPUS, affiliate), 5 * GPU);
    }

    function testRecoverUnitsTwiceLost() public {
        address last = _actor("last");
        recover(provider, successor);
        recover(successor, last);

        ledger.recover(provider, assets);

        assertEq(ledger.balanceOf(last, asset), 20 * GPU);
        assertEq(ledger.heldBy(GPUS, last), 20 * GPU);
        assertEq(ledger.heldBy(GPUS, successor), 0);
        assertEq(ledger.heldBy(GPUS, provider), 0);
    }

    function testRecoverRetiredUnits() public {
        recover(provider, successor);
        vm.warp(EXPIRES + GRACE);
        bytes32[] memory devices = new bytes32[](1);
        devices[0] = keccak256(abi.encode("device", uint256(1)));
        ledger.retire(asset, devices);

        ledger.recover(provider, assets);

        assertEq(ledger.balanceOf(successor, asset), 20 * GPU);
        assertEq(ledger.heldBy(GPUS, successor), 0);
        assertEq(ledger.heldBy(GPUS, provider), 0);
    }

    /// T-REX: one agent's key moves a holder's tokens. Here nobody's does, before the member was replaced.
    function testRecoverUnitsOfOneNotReplaced(address sender) public {
        startRecovery(provider, successor);
        vm.prank(sender);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotReplaced.selector, provider));
        ledger.recover(provider, assets);
    }

    function testRecoverUnitsOfAnUnknownAsset(uint256 other) public {
        vm.assume(other != asset);
        recover(provider, successor);
        assets[0] = other;
        vm.expectRevert(abi.encodeWithSelector(ILedger.UnknownAsset.selector, other));
        ledger.recover(provider, assets);
    }

    function testAReplacedMemberSendsNothing() public {
        recover(provider, successor);
        assertFalse(ledger.canTransfer(provider, developer, asset, GPU));
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IMembers.Replaced.selector, provider, successor));
        ledger.transfer(developer, asset, GPU);
    }

    /// `Members` alone tells the ledger who stands where.
    function testHooksByAnother(address sender) public {
        vm.assume(sender != address(members));
        bytes memory reason = abi.encodeWithSelector(ILedger.OnlyMembers.selector, sender);
        vm.startPrank(sender);
        vm.expectRevert(reason);
        ledger.merge(provider, developer);
        vm.expectRevert(reason);
        ledger.detach(provider, new address[](0));
        vm.expectRevert(reason);
        ledger.replace(provider, successor);
        vm.expectRevert(reason);
        ledger.enter(provider);
        vm.expectRevert(reason);
        ledger.exit(provider);
    }

    function _accrue(uint256 amount) private {
        assertTrue(coin.transfer(address(access), amount));
        vm.prank(address(meter));
        ledger.accrue(asset, amount);
    }
}
