// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccess} from "../src/interfaces/IAccess.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {Base} from "./Base.t.sol";

contract RotateTest is Base {
    uint64 internal constant AMOUNT = 100_000;
    uint48 internal constant NOTICE = 1 hours;
    uint256 internal constant NEXT_KEY = 0x33;

    bytes32 internal lease;

    function setUp() public override {
        super.setUp();
        publicKey(NEXT_KEY);
        (, lease) = leased(8 * GPU, AMOUNT, 7);
    }

    function testRotate(uint256 when) public {
        when = bound(when, START, START + 52 weeks);
        skipTo(when);
        IAccess.Lease memory expected = access.leaseOf(lease);
        IAccess.Rotation memory r = rotation(lease, NEXT_KEY);
        uint48 until = uint48(when) + NOTICE;

        vm.expectEmit(address(access));
        emit IAccess.KeyRotated(lease, 1, r.keyX, r.keyY, until);
        vm.prank(developer);
        access.rotate(r, "");

        IAccess.SessionKey memory former = IAccess.SessionKey(expected.keyX, expected.keyY, until);
        assertEq(abi.encode(access.keyOf(lease, 0)), abi.encode(former));
        assertEq(abi.encode(access.keyOf(lease, 1)), abi.encode(IAccess.SessionKey(r.keyX, r.keyY, 0)));
        (expected.keyX, expected.keyY, expected.keyNumber, expected.changes) = (r.keyX, r.keyY, 1, 1);
        assertEq(abi.encode(access.leaseOf(lease)), abi.encode(expected), "only the key changes");
    }

    function testRotateBySignature(address sender) public {
        IAccess.Rotation memory r = rotation(lease, NEXT_KEY);
        bytes memory signature = sign(keyOf[developer], typed(accessDomain(), hashOf(r)));

        vm.prank(sender);
        access.rotate(r, signature);

        assertEq(access.leaseOf(lease).keyX, r.keyX);
        skipTo(START + NOTICE + 1);
        _refuse(relayer, r, signature, abi.encodeWithSelector(IAccess.WrongChange.selector, lease, 0, 1));
    }

    function testRotateByAnotherThanTheHolder(address sender, uint256 key, bytes32 x) public {
        vm.assume(sender != developer);
        key = bound(key, 1, SECP256K1_N - 1);
        vm.assume(key != keyOf[developer]);
        IAccess.Rotation memory r = rotation(lease, NEXT_KEY);
        vm.assume(x != r.keyX);
        bytes memory bad = abi.encodeWithSelector(IAccess.BadHolderSignature.selector, developer);
        _refuse(sender, r, "", bad);
        _refuse(sender, r, sign(key, typed(accessDomain(), hashOf(r))), bad);
        bytes memory good = sign(keyOf[developer], typed(accessDomain(), hashOf(r)));
        r.keyX = x;
        _refuse(sender, r, good, bad);
    }

    /// Each key has its hour: rotating twice in a row would leave the one that was served with none.
    function testRotateAgain(uint48 early) public {
        early = uint48(bound(early, START, START + NOTICE));
        rotate(lease, NEXT_KEY);
        _refuseAgain(early);
        _refuseAgain(START + NOTICE);
        skipTo(START + NOTICE + 1);
        rotate(lease, SESSION_KEY);

        assertEq(access.leaseOf(lease).keyNumber, 2);
        assertEq(access.keyOf(lease, 0).until, START + NOTICE);
        assertEq(access.keyOf(lease, 1).until, START + 2 * NOTICE + 1);
        assertEq(access.keyOf(lease, 2).until, 0);
    }

    function testRotateInTheLastSecond() public {
        IAccess.Rotation memory r = rotation(lease, NEXT_KEY);
        r.deadline = START;
        vm.prank(developer);
        access.rotate(r, "");

        assertEq(access.leaseOf(lease).keyNumber, 1);
    }

    function testRotateAfterDeadline(uint48 deadline) public {
        IAccess.Rotation memory r = rotation(lease, NEXT_KEY);
        r.deadline = uint48(bound(deadline, 0, START - 1));
        _refuse(developer, r, "", abi.encodeWithSelector(IAccess.DeadlinePassed.selector, r.deadline, START));
    }

    function testRotateOfAnotherState(uint16 change) public {
        vm.assume(change != 0);
        IAccess.Rotation memory r = rotation(lease, NEXT_KEY);
        r.change = change;
        _refuse(developer, r, "", abi.encodeWithSelector(IAccess.WrongChange.selector, lease, change, 0));
    }

    function testRotateUnknownLease(bytes32 other) public {
        vm.assume(other != lease);
        IAccess.Rotation memory r = rotation(other, NEXT_KEY);
        _refuse(developer, r, "", abi.encodeWithSelector(IAccess.UnknownLease.selector, other));
    }

    function testRotateToNoKey(bytes32 x, bytes32 y) public {
        IAccess.Rotation memory r = rotation(lease, NEXT_KEY);
        (r.keyX, r.keyY) = (x, y);
        _refuse(developer, r, "", abi.encodeWithSelector(IAccess.BadSessionKey.selector));
        (r.keyX, r.keyY) = (0, 0);
        _refuse(developer, r, "", abi.encodeWithSelector(IAccess.BadSessionKey.selector));
    }

    /// Nor may the one who found the lost key; the successor may, once the lease is its own.
    function testRotateByAReplacedHolder() public {
        address successor = _actor("successor");
        recover(developer, successor);
        IAccess.Rotation memory r = rotation(lease, NEXT_KEY);
        _refuse(developer, r, "", abi.encodeWithSelector(IMembers.Replaced.selector, developer, successor));
        bytes32[] memory leases = new bytes32[](1);
        leases[0] = lease;
        access.recover(developer, new uint256[](0), leases);

        rotate(lease, NEXT_KEY);

        assertEq(access.leaseOf(lease).holder, successor);
        assertEq(access.leaseOf(lease).keyX, r.keyX);
    }

    function testKeyOfNoSuchNumber(uint16 number, bytes32 other) public {
        vm.assume(number > 1 && other != lease);
        rotate(lease, NEXT_KEY);
        vm.expectRevert(abi.encodeWithSelector(IAccess.UnknownKey.selector, lease, number));
        access.keyOf(lease, number);
        vm.expectRevert(abi.encodeWithSelector(IAccess.UnknownLease.selector, other));
        access.keyOf(other, 0);
    }

    function _refuseAgain(uint48 when) private {
        skipTo(when);
        IAccess.Rotation memory r = rotation(lease, SESSION_KEY);
        _refuse(developer, r, "", abi.encodeWithSelector(IAccess.RotatedLately.selector, lease, START + NOTICE, when));
    }

    function _refuse(address sender, IAccess.Rotation memory r, bytes memory signature, bytes memory reason) private {
        vm.prank(sender);
        vm.expectRevert(reason);
        access.rotate(r, signature);
    }
}
