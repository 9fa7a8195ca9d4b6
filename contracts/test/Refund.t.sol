// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccess} from "../src/interfaces/IAccess.sol";
import {Base} from "./Base.t.sol";
import {HookCoin} from "./HookCoin.sol";

contract RefundTest is Base {
    uint64 internal constant AMOUNT = 100_000; // seconds of the lease
    uint128 internal constant PRICE = 7;

    bytes32 internal lease;
    uint256 internal end; // of the lease's window

    function setUp() public override {
        super.setUp();
        (, lease) = leased(8 * GPU, AMOUNT, PRICE);
        end = (uint256(access.currentWindow()) + 1) * WINDOW;
    }

    /// ocean-node 1408: a payer's money froze. Here anyone can send what is due back.
    /// To the last of the smallest unit: what was paid and what comes back is what was bought for.
    function testRefund(address sender, uint64 gpuMs, uint256 later) public {
        gpuMs = uint64(bound(gpuMs, 0, AMOUNT * 1000 - 1000));
        skipTo(end);
        if (gpuMs > 0) settle(lease, gpuMs);
        uint256 due = uint256(gpuMs) * PRICE / 1000;
        skipTo(bound(later, end + SETTLE_DELAY + 1, end + 1_000 weeks));

        vm.expectEmit(address(access));
        emit IAccess.Refunded(lease, developer, uint256(AMOUNT) * PRICE - due);
        vm.prank(sender);
        assertEq(access.refund(lease), uint256(AMOUNT) * PRICE - due);

        assertTrue(access.leaseOf(lease).refunded);
        assertEq(coin.balanceOf(developer), uint256(AMOUNT) * PRICE - due);
        assertEq(coin.balanceOf(address(access)), due, "the revenue of the holders stays");
    }

    function testRefundTwice() public {
        skipTo(end + SETTLE_DELAY + 1);
        access.refund(lease);
        _refuse(abi.encodeWithSelector(IAccess.NothingToRefund.selector));
    }

    /// Not a second at which a receipt could still be settled.
    function testRefundTooEarly(uint256 when) public {
        uint256 until = end + SETTLE_DELAY;
        when = bound(when, START, until);
        assertEq(access.settleableUntil(lease), until);
        skipTo(when);
        _refuse(abi.encodeWithSelector(IAccess.NotYetRefundable.selector, lease, until + 1, when));
        skipTo(until);
        _refuse(abi.encodeWithSelector(IAccess.NotYetRefundable.selector, lease, until + 1, until));
        settle(lease, 1000);
    }

    function testRefundOfAGrant() public {
        (, lease) = leased(8 * GPU, AMOUNT, 0);
        skipTo(end + SETTLE_DELAY + 1);
        _refuse(abi.encodeWithSelector(IAccess.NothingToRefund.selector));
    }

    function testRefundOfWhatWasDeliveredInFull() public {
        skipTo(end);
        settle(lease, AMOUNT * 1000);
        skipTo(end + SETTLE_DELAY + 1);
        _refuse(abi.encodeWithSelector(IAccess.NothingToRefund.selector));
    }

    function testRefundUnknownLease(bytes32 other) public {
        vm.assume(other != lease);
        lease = other;
        _refuse(abi.encodeWithSelector(IAccess.UnknownLease.selector, other));
        vm.expectRevert(abi.encodeWithSelector(IAccess.UnknownLease.selector, other));
        access.settleableUntil(other);
    }

    /// A lost key's lease is paid to who stands in its place, moved there or not, and over two recoveries.
    function testRefundToTheSuccessor(bool moved) public {
        (address first, address second) = (_actor("first"), _actor("second"));
        recover(developer, first);
        if (moved) {
            bytes32[] memory leases = new bytes32[](1);
            leases[0] = lease;
            access.recover(developer, new uint256[](0), leases);
        }
        recover(first, second);
        skipTo(end + SETTLE_DELAY + 1);

        vm.expectEmit(address(access));
        emit IAccess.Refunded(lease, second, uint256(AMOUNT) * PRICE);
        access.refund(lease);

        assertEq(coin.balanceOf(second), uint256(AMOUNT) * PRICE);
        assertEq(coin.balanceOf(developer) + coin.balanceOf(first), 0);
    }

    /// The money leaves last.
    function testRefundInsideARefund() public {
        leased(8 * GPU, AMOUNT, PRICE); // there is more to take
        skipTo(end + SETTLE_DELAY + 1);
        vm.etch(address(coin), address(new HookCoin()).code);
        HookCoin(address(coin)).arm(address(access), abi.encodeCall(IAccess.refund, (lease)));

        access.refund(lease);

        assertEq(HookCoin(address(coin)).answer(), abi.encodeWithSelector(IAccess.NothingToRefund.selector));
        assertEq(coin.balanceOf(developer), uint256(AMOUNT) * PRICE);
    }

    function _refuse(bytes memory reason) private {
        vm.expectRevert(reason);
        access.refund(lease);
    }
}
