// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {Base} from "./Base.t.sol";

contract LapseTest is Base {
    function testLapse(uint48 moment) public {
        moment = uint48(bound(moment, UNTIL, type(uint40).max));
        vm.warp(moment);

        vm.expectEmit(address(members));
        emit IMembers.Lapsed(provider);
        vm.prank(stranger);
        members.lapse(provider);

        assertEq(members.groups(), 2);
        vm.warp(uint256(moment) + 1);
        assertEq(members.getPastTotalSupply(moment - 1), 3);
        assertEq(members.getPastTotalSupply(moment), 2);
    }

    /// It is inactive before anybody says so: it has no vote, and what it holds stays its own.
    function testLapseTakesNothing() public {
        uint256 asset = registerMachine(provider, GPU);
        vm.warp(UNTIL);
        assertFalse(members.isActive(provider));
        assertEq(members.getPastVotes(provider, UNTIL - 1), 0);

        members.lapse(provider);

        assertEq(ledger.balanceOf(provider, asset), GPU);
        assertEq(ledger.heldBy(GPUS, provider), GPU);
        assertEq(members.rootOf(provider), provider);
    }

    function testLapseOfAnActiveMember(uint48 moment) public {
        vm.warp(bound(moment, START, UNTIL - 1));
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotLapsed.selector, provider, UNTIL));
        members.lapse(provider);
    }

    function testLapseTwice() public {
        vm.warp(UNTIL);
        members.lapse(provider);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotCounted.selector, provider));
        members.lapse(provider);
    }

    /// A controlled member was no group before it lapsed.
    function testLapseOfAControlledMember() public {
        attach(affiliate, provider);
        vm.warp(UNTIL);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotCounted.selector, affiliate));
        members.lapse(affiliate);
    }

    function testLapseNotMember(address account) public {
        vm.assume(!isMember(account));
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotMember.selector, account));
        members.lapse(account);
    }

    /// The number of groups does not go down twice for one of them.
    function testLapseAndThenBeAttached() public {
        vm.warp(UNTIL - 1);
        _renew(affiliate);
        _renew(developer);
        vm.warp(UNTIL);
        members.lapse(provider);

        attach(provider, affiliate);

        assertEq(members.groups(), 2);
    }

    function testEnterAndExitOnlyMembers(address sender) public {
        vm.assume(sender != address(members));
        vm.startPrank(sender);
        vm.expectRevert(abi.encodeWithSelector(ILedger.OnlyMembers.selector, sender));
        ledger.enter(stranger);
        vm.expectRevert(abi.encodeWithSelector(ILedger.OnlyMembers.selector, sender));
        ledger.exit(provider);
    }

    function _renew(address account) private {
        IMembers.Renewal memory r = IMembers.Renewal(account, UNTIL + 1 weeks, DEADLINE);
        members.renew(r, attested(hashOf(r)));
    }
}
