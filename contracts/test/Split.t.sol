// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccess} from "../src/interfaces/IAccess.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {Base} from "./Base.t.sol";

contract SplitTest is Base {
    uint64 internal constant AMOUNT = 1_000_000; // seconds of the lease
    uint128 internal constant PRICE = 7;
    uint64 internal constant GPUS_OF_ASSET = 8;
    uint256 internal constant NOTICE = 1 hours;
    uint256 internal constant PART_KEY = 0x33;

    bytes32 internal lease;
    uint32 internal window;
    uint256 internal end;

    function setUp() public override {
        super.setUp();
        publicKey(PART_KEY);
        window = access.currentWindow();
        end = (uint256(window) + 1) * WINDOW;
        (, lease) = leased(GPUS_OF_ASSET * GPU, AMOUNT, PRICE);
    }

    function testSplit(uint64 amount, uint256 when) public {
        when = bound(when, START, START + _lastSplittable());
        amount = uint64(bound(amount, 1, _most(when)));
        skipTo(when);
        IAccess.Split memory s = splitting(lease, amount, PART_KEY);
        bytes32 part = typed(accessDomain(), hashOf(s));
        assertEq(access.partId(s), part);
        IAccess.Lease memory before = access.leaseOf(lease);

        vm.expectEmit(address(access));
        emit IAccess.LeaseSplit(lease, part, amount, uint48(when), s.keyX, s.keyY);
        vm.prank(developer);
        assertEq(access.split(s, ""), part);

        IAccess.Lease memory expected = access.leaseOf(part);
        assertEq(expected.amount, amount);
        assertEq(expected.startsAt, when);
        assertEq(expected.changes, 0);
        (before.amount, before.changes) = (AMOUNT - amount, 1);
        assertEq(abi.encode(access.leaseOf(lease)), abi.encode(before), "nothing else of the lease changes");
        (before.amount, before.changes, before.startsAt) = (amount, 0, uint48(when));
        (before.keyX, before.keyY) = (s.keyX, s.keyY);
        assertEq(abi.encode(expected), abi.encode(before), "holder, level, id and price are those of the lease");
        assertEq(access.acquiredBy(GPUS, window, developer), AMOUNT);
        assertEq(access.redeemedBy(GPUS, window, developer), AMOUNT);
    }

    function testSplitBySignature(address sender, uint64 amount) public {
        amount = uint64(bound(amount, 1, _most(START)));
        IAccess.Split memory s = splitting(lease, amount, PART_KEY);
        bytes memory signature = sign(keyOf[developer], access.partId(s));

        vm.prank(sender);
        bytes32 part = access.split(s, signature);

        assertEq(access.leaseOf(part).holder, developer);
        _refuse(relayer, s, signature, abi.encodeWithSelector(IAccess.WrongChange.selector, lease, 0, 1));
    }

    function testSplitByAnotherThanTheHolder(address sender, uint256 key) public {
        vm.assume(sender != developer);
        key = bound(key, 1, SECP256K1_N - 1);
        vm.assume(key != keyOf[developer]);
        IAccess.Split memory s = splitting(lease, 1, PART_KEY);
        bytes memory bad = abi.encodeWithSelector(IAccess.BadHolderSignature.selector, developer);
        _refuse(sender, s, "", bad);
        _refuse(sender, s, sign(key, access.partId(s)), bad);
        bytes memory good = sign(keyOf[developer], access.partId(s));
        ++s.amount;
        _refuse(sender, s, good, bad);
    }

    function testSplitTooLarge(uint64 amount, uint256 when) public {
        when = bound(when, START, end - 1);
        skipTo(when);
        uint256 most = _most(when);
        amount = uint64(bound(amount, most + 1, type(uint64).max));
        _refuse(amount, abi.encodeWithSelector(IAccess.SplitTooLarge.selector, lease, amount, most));
    }

    /// Whatever is split off, the provider is paid for all that it may have delivered by the end of the notice.
    function testSplitLeavesWhatMayHaveBeenDelivered(uint256 when, uint256 later) public {
        when = bound(when, START, START + _lastSplittable());
        later = bound(later, when, when + NOTICE);
        skipTo(when);
        if (_most(when) > 0) splitOff(lease, uint64(_most(when)), PART_KEY);
        uint64 gpuMs = uint64((later - START) * 1000 * GPUS_OF_ASSET);
        skipTo(later);

        if (gpuMs > 0) settle(lease, gpuMs);

        assertEq(meter.settledMs(lease), gpuMs);
    }

    /// Two leases pay and give back what one would have, but for what a receipt of each is rounded down by.
    function testSplitMakesNoMoney(uint64 amount, uint64 ofLease, uint64 ofPart) public {
        amount = uint64(bound(amount, 1, _most(START)));
        bytes32 part = splitOff(lease, amount, PART_KEY);
        ofLease = uint64(bound(ofLease, 1, (AMOUNT - amount) * 1000));
        ofPart = uint64(bound(ofPart, 1, amount * 1000));
        skipTo(end);

        settle(lease, ofLease);
        meter.settle(batch(receiptBy(PART_KEY, part, ofPart)));
        skipTo(end + SETTLE_DELAY + 1);
        uint256 back = _refundOf(lease) + _refundOf(part);

        uint256 paid = uint256(ofLease) * PRICE / 1000 + uint256(ofPart) * PRICE / 1000;
        assertEq(back, uint256(AMOUNT) * PRICE - paid);
        assertEq(coin.balanceOf(address(access)), paid, "what is the holders' of the asset");
    }

    /// Nobody can have used what has not begun: all of it may go.
    function testSplitBeforeTheWindow(uint64 amount) public {
        amount = uint64(bound(amount, 1, AMOUNT));
        uint256 id = open(access.leaseOf(lease).id >> 64, window + 1, 0);
        grant(id, developer, AMOUNT);
        lease = redeem(developer, id, AMOUNT);

        bytes32 part = splitOff(lease, amount, PART_KEY);

        assertEq(access.leaseOf(part).startsAt, end);
        assertEq(access.leaseOf(lease).amount, AMOUNT - amount);
    }

    function testSplitInAnEndedWindow(uint32 later) public {
        later = uint32(bound(later, 1, 1_000));
        skipTo(uint256(window + later) * WINDOW);
        bytes memory reason =
            abi.encodeWithSelector(IAccess.WindowNotOpen.selector, window, window + later, window + later + HORIZON);
        _refuse(1, reason);
    }

    function testSplitNothing() public {
        _refuse(0, abi.encodeWithSelector(IAccess.NoAmount.selector));
    }

    function testSplitAfterDeadline(uint48 deadline) public {
        IAccess.Split memory s = splitting(lease, 1, PART_KEY);
        s.deadline = uint48(bound(deadline, 0, START - 1));
        bytes memory reason = abi.encodeWithSelector(IAccess.DeadlinePassed.selector, s.deadline, START);
        _refuse(developer, s, "", reason);
    }

    function testSplitOfAnotherState(uint16 change) public {
        vm.assume(change != 0);
        IAccess.Split memory s = splitting(lease, 1, PART_KEY);
        s.change = change;
        _refuse(developer, s, "", abi.encodeWithSelector(IAccess.WrongChange.selector, lease, change, 0));
    }

    function testSplitUnknownLease(bytes32 other) public {
        vm.assume(other != lease);
        lease = other;
        _refuse(1, abi.encodeWithSelector(IAccess.UnknownLease.selector, other));
    }

    function testSplitBadSessionKey(bytes32 x, bytes32 y) public {
        IAccess.Split memory s = splitting(lease, 1, PART_KEY);
        (s.keyX, s.keyY) = (x, y);
        _refuse(developer, s, "", abi.encodeWithSelector(IAccess.BadSessionKey.selector));
    }

    /// The key that was lost does nothing, from the moment of the recovery on.
    function testSplitByAReplacedHolder() public {
        address successor = _actor("successor");
        recover(developer, successor);
        _refuse(1, abi.encodeWithSelector(IMembers.Replaced.selector, developer, successor));
    }

    /// What cannot have been delivered by the end of the notice, counted again.
    function _most(uint256 when) private view returns (uint256) {
        uint256 until = when + NOTICE < end ? when + NOTICE : end;
        uint256 delivered = (until - START) * GPUS_OF_ASSET;
        return delivered < AMOUNT ? AMOUNT - delivered : 0;
    }

    /// Seconds after the start at which one second can still be split off.
    function _lastSplittable() private pure returns (uint256) {
        return (AMOUNT - 1) / GPUS_OF_ASSET - NOTICE;
    }

    function _refundOf(bytes32 lease_) private returns (uint256) {
        IAccess.Lease memory l = access.leaseOf(lease_);
        return l.gpuMs == l.amount * 1000 ? 0 : access.refund(lease_);
    }

    function _refuse(uint64 amount, bytes memory reason) private {
        _refuse(developer, splitting(lease, amount, PART_KEY), "", reason);
    }

    function _refuse(address sender, IAccess.Split memory s, bytes memory signature, bytes memory reason) private {
        vm.prank(sender);
        vm.expectRevert(reason);
        access.split(s, signature);
    }
}
