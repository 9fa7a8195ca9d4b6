// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccess} from "../src/interfaces/IAccess.sol";
import {Base} from "./Base.t.sol";

/// What the meter and the ledger have Access do, and nobody else.
contract DeliverTest is Base {
    uint128 internal constant PRICE = 7;

    bytes32 internal lease;

    function setUp() public override {
        super.setUp();
        (, lease) = leased(8 * GPU, 1_000, PRICE);
    }

    /// In total: what was owed before is not owed again.
    function testDeliver(uint64 first, uint64 second) public {
        first = uint64(bound(first, 0, 1_000_000));
        second = uint64(bound(second, first, 1_000_000));
        vm.startPrank(address(meter));
        assertEq(access.deliver(lease, first), first * PRICE / 1000);
        assertEq(access.deliver(lease, second), second * PRICE / 1000 - first * PRICE / 1000);
        assertEq(access.leaseOf(lease).gpuMs, second);
    }

    function testDeliverOnlyByMeter(address sender, uint64 gpuMs) public {
        vm.assume(sender != address(meter));
        vm.prank(sender);
        vm.expectRevert(abi.encodeWithSelector(IAccess.OnlyMeter.selector, sender));
        access.deliver(lease, gpuMs);
    }

    function testDeliverUnknownLease(bytes32 other) public {
        vm.assume(other != lease);
        vm.prank(address(meter));
        vm.expectRevert(abi.encodeWithSelector(IAccess.UnknownLease.selector, other));
        access.deliver(other, 1);
    }

    function testPay(uint256 amount) public {
        amount = bound(amount, 0, 1_000 * PRICE);
        vm.prank(address(ledger));
        access.pay(stranger, amount);
        assertEq(coin.balanceOf(stranger), amount);
        assertEq(coin.balanceOf(address(access)), 1_000 * PRICE - amount);
    }

    function testPayOnlyByLedger(address sender, address to, uint256 amount) public {
        vm.assume(sender != address(ledger));
        vm.prank(sender);
        vm.expectRevert(abi.encodeWithSelector(IAccess.OnlyLedger.selector, sender));
        access.pay(to, amount);
    }
}
