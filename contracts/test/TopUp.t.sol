// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC6909} from "@openzeppelin/contracts/token/ERC6909/ERC6909.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {Base} from "./Base.t.sol";

contract TopUpTest is Base {
    uint64 internal constant FIRST = 1_000; // seconds of the lease before
    uint128 internal constant PRICE = 7;

    uint256 internal asset;
    uint256 internal id;
    bytes32 internal lease;
    uint32 internal window;

    function setUp() public override {
        super.setUp();
        asset = register(machine(50 * GPU), noShares());
        window = access.currentWindow();
        id = open(asset, window, PRICE);
        buy(id, developer, MOST_USED);
        lease = redeem(developer, id, FIRST);
    }

    function testTopUp(uint64 amount, uint256 when) public {
        amount = uint64(bound(amount, 1, MOST_USED - FIRST));
        skipTo(bound(when, START, uint256(window + 1) * WINDOW - 1));
        IAccess.Lease memory expected = access.leaseOf(lease);
        IAccess.TopUp memory t = toppingUp(lease, amount);

        vm.expectEmit(address(access));
        emit IAccess.ToppedUp(lease, amount);
        vm.prank(developer);
        access.topUp(t, "");

        (expected.amount, expected.changes) = (FIRST + amount, 1);
        assertEq(abi.encode(access.leaseOf(lease)), abi.encode(expected), "only the amount grows");
        assertEq(access.balanceOf(developer, id), MOST_USED - FIRST - amount);
        assertEq(access.acquiredBy(GPUS, window, developer), MOST_USED);
        assertEq(access.redeemedBy(GPUS, window, developer), FIRST + amount);
    }

    function testTopUpBySignature(address sender, uint64 amount) public {
        amount = uint64(bound(amount, 1, (MOST_USED - FIRST) / 2));
        IAccess.TopUp memory t = toppingUp(lease, amount);
        bytes memory signature = sign(keyOf[developer], typed(accessDomain(), hashOf(t)));

        vm.prank(sender);
        access.topUp(t, signature);

        assertEq(access.leaseOf(lease).amount, FIRST + amount);
        _refuse(relayer, t, signature, abi.encodeWithSelector(IAccess.WrongChange.selector, lease, 0, 1));
    }

    function testTopUpByAnotherThanTheHolder(address sender, uint256 key) public {
        vm.assume(sender != developer);
        key = bound(key, 1, SECP256K1_N - 1);
        vm.assume(key != keyOf[developer]);
        IAccess.TopUp memory t = toppingUp(lease, 1);
        bytes memory bad = abi.encodeWithSelector(IAccess.BadHolderSignature.selector, developer);
        _refuse(sender, t, "", bad);
        _refuse(sender, t, sign(key, typed(accessDomain(), hashOf(t))), bad);
        bytes memory good = sign(keyOf[developer], typed(accessDomain(), hashOf(t)));
        ++t.amount;
        _refuse(sender, t, good, bad);
    }

    /// What is added is paid and refunded as what was there before.
    function testTopUpIsSettledAndRefunded(uint64 amount, uint64 gpuMs) public {
        amount = uint64(bound(amount, 1, MOST_USED - FIRST));
        gpuMs = uint64(bound(gpuMs, 1, (FIRST + amount) * 1000));
        topUp(lease, amount);
        uint256 end = uint256(window + 1) * WINDOW;
        skipTo(end);

        settle(lease, gpuMs);

        uint256 due = uint256(gpuMs) * PRICE / 1000;
        skipTo(end + SETTLE_DELAY + 1);
        if (due < uint256(FIRST + amount) * PRICE) {
            assertEq(access.refund(lease), uint256(FIRST + amount) * PRICE - due);
        }
    }

    function testTopUpMoreThanHeld(uint64 amount) public {
        amount = uint64(bound(amount, MOST_USED / 2 + 1, MOST_USED));
        vm.prank(developer);
        access.transfer(affiliate, id, MOST_USED - FIRST - MOST_USED / 2);
        bytes memory reason =
            abi.encodeWithSelector(ERC6909.ERC6909InsufficientBalance.selector, developer, MOST_USED / 2, amount, id);
        _refuse(amount, reason);
    }

    /// tellor layer 1044: one path to more was missing from the check.
    /// A lease is no way around the limit on what a group redeems.
    function testTopUpNoMoreThanTheLimitAfterAJoin(uint64 amount) public {
        uint256 other = open(asset, window, 0);
        grant(other, affiliate, MOST_USED);
        redeem(affiliate, other, MOST_USED / 2);
        attach(affiliate, developer);
        uint256 left = MOST_USED - MOST_USED / 2 - FIRST;
        amount = uint64(bound(amount, left + 1, MOST_USED - FIRST));
        bytes memory reason = abi.encodeWithSelector(
            IAccess.OverUseLimit.selector, GPUS, window, developer, uint256(MOST_USED / 2) + FIRST + amount, MOST_USED
        );
        _refuse(amount, reason);
        topUp(lease, uint64(left));
    }

    function testTopUpNothing() public {
        _refuse(0, abi.encodeWithSelector(IAccess.NoAmount.selector));
    }

    function testTopUpAfterDeadline(uint48 deadline) public {
        IAccess.TopUp memory t = toppingUp(lease, 1);
        t.deadline = uint48(bound(deadline, 0, START - 1));
        _refuse(developer, t, "", abi.encodeWithSelector(IAccess.DeadlinePassed.selector, t.deadline, START));
    }

    function testTopUpOfAnotherState(uint16 change) public {
        vm.assume(change != 0);
        IAccess.TopUp memory t = toppingUp(lease, 1);
        t.change = change;
        _refuse(developer, t, "", abi.encodeWithSelector(IAccess.WrongChange.selector, lease, change, 0));
    }

    function testTopUpUnknownLease(bytes32 other) public {
        vm.assume(other != lease);
        lease = other;
        _refuse(1, abi.encodeWithSelector(IAccess.UnknownLease.selector, other));
    }

    function testTopUpInAnEndedWindow(uint32 later) public {
        later = uint32(bound(later, 1, 50));
        skipTo(uint256(window + later) * WINDOW);
        bytes memory reason =
            abi.encodeWithSelector(IAccess.WindowNotOpen.selector, window, window + later, window + later + HORIZON);
        _refuse(1, reason);
    }

    function testTopUpAsALapsedMember() public {
        address lapsing = _actor("lapsing");
        admit(lapsing, START + 1);
        vm.prank(developer);
        access.transfer(lapsing, id, 10);
        lease = redeem(lapsing, id, 5);
        skipTo(START + 1);
        IAccess.TopUp memory t = toppingUp(lease, 5);
        _refuse(lapsing, t, "", abi.encodeWithSelector(IAccess.NotActiveMember.selector, lapsing));
    }

    function testTopUpOfALapsedAsset() public {
        ILedger.Appraisal memory a = machine(8 * GPU);
        a.expiresAt = START + 1;
        asset = register(a, noShares());
        id = open(asset, window, 0);
        grant(id, affiliate, 10);
        lease = redeem(affiliate, id, 5);
        skipTo(START + 1);
        IAccess.TopUp memory t = toppingUp(lease, 5);
        _refuse(affiliate, t, "", abi.encodeWithSelector(IAccess.AssetNotLive.selector, asset));
    }

    function testTopUpByAReplacedHolder() public {
        address successor = _actor("successor");
        recover(developer, successor);
        _refuse(1, abi.encodeWithSelector(IMembers.Replaced.selector, developer, successor));
    }

    function _refuse(uint64 amount, bytes memory reason) private {
        _refuse(developer, toppingUp(lease, amount), "", reason);
    }

    function _refuse(address sender, IAccess.TopUp memory t, bytes memory signature, bytes memory reason) private {
        vm.prank(sender);
        vm.expectRevert(reason);
        access.topUp(t, signature);
    }
}
