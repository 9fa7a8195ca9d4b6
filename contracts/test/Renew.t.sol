// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IMembers} from "../src/interfaces/IMembers.sol";
import {IQuorum} from "../src/interfaces/IQuorum.sol";
import {Signature} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

contract RenewTest is Base {
    uint48 internal constant FIRST = START + 52 weeks;

    address internal lapsing;

    function setUp() public override {
        super.setUp();
        lapsing = _actor("lapsing");
        admit(lapsing, FIRST);
    }

    function testRenew(uint48 until, uint48 moment) public {
        until = uint48(bound(until, FIRST + 1, UNTIL));
        moment = uint48(bound(moment, START, until - 1));
        IMembers.Renewal memory r = IMembers.Renewal(lapsing, until, DEADLINE);
        vm.warp(moment);
        assertEq(members.isActive(lapsing), moment < FIRST);

        Signature[] memory quorum = attested(hashOf(r));
        // The time in which it had lapsed is no membership: it starts anew.
        uint48 expected = moment < FIRST ? START : moment;

        vm.expectEmit(address(members));
        emit IMembers.Renewed(lapsing, expected, until);
        members.renew(r, quorum);

        (, uint48 since, uint48 stored,) = members.memberOf(lapsing);
        assertEq(since, expected);
        assertEq(stored, until);
        assertTrue(members.isActive(lapsing));
        assertEq(members.groups(), 4);
    }

    /// Who was taken out of the number of groups is in it again, as one that is new.
    function testRenewAfterLapse(uint48 until) public {
        until = uint48(bound(until, FIRST + 2, UNTIL));
        vm.warp(FIRST);
        members.lapse(lapsing);
        vm.warp(FIRST + 1);
        IMembers.Renewal memory r = IMembers.Renewal(lapsing, until, DEADLINE);

        members.renew(r, attested(hashOf(r)));

        assertEq(members.groups(), 4);
        vm.warp(FIRST + 2);
        assertEq(members.getPastTotalSupply(FIRST), 3);
        assertEq(members.getPastTotalSupply(FIRST + 1), 4);
        assertEq(members.getPastVotes(lapsing, FIRST), 0);
        assertEq(members.getPastVotes(lapsing, FIRST + 1), until > FIRST + 2 ? 1 : 0);
    }

    /// What its controller holds is one group: a wallet that comes back is none of its own.
    function testRenewAControlledMemberAfterItLapsed() public {
        attach(lapsing, provider);
        vm.warp(FIRST);
        IMembers.Renewal memory r = IMembers.Renewal(lapsing, UNTIL, DEADLINE);

        members.renew(r, attested(hashOf(r)));

        assertEq(members.groups(), 3);
        assertEq(members.rootOf(lapsing), provider);
    }

    function testRenewReplaced() public {
        recover(lapsing, stranger);
        _refuse(
            IMembers.Renewal(lapsing, UNTIL, DEADLINE),
            abi.encodeWithSelector(IMembers.Replaced.selector, lapsing, stranger)
        );
    }

    function testRenewUntilTooLate(uint48 until) public {
        until = uint48(bound(until, START + MAX_TERM + 1, type(uint48).max));
        _refuse(
            IMembers.Renewal(lapsing, until, DEADLINE),
            abi.encodeWithSelector(IMembers.UntilTooLate.selector, until, START + MAX_TERM)
        );
    }

    /// Later than the present one, and still past.
    function testRenewUntilPast(uint48 until) public {
        until = uint48(bound(until, FIRST + 1, FIRST + 1 weeks));
        vm.warp(FIRST + 1 weeks);
        _refuse(
            IMembers.Renewal(lapsing, until, DEADLINE),
            abi.encodeWithSelector(IMembers.UntilNotLater.selector, until, FIRST + 1 weeks)
        );
    }

    function testRenewKeepsTheController() public {
        attach(lapsing, provider);
        IMembers.Renewal memory r = IMembers.Renewal(lapsing, FIRST + 1, DEADLINE);

        members.renew(r, attested(hashOf(r)));

        assertEq(members.rootOf(lapsing), provider);
    }

    function testRenewNotLater(uint48 until) public {
        until = uint48(bound(until, 0, FIRST));
        _refuse(
            IMembers.Renewal(lapsing, until, DEADLINE),
            abi.encodeWithSelector(IMembers.UntilNotLater.selector, until, FIRST)
        );
    }

    function testRenewTwice(uint48 until) public {
        until = uint48(bound(until, FIRST + 1, UNTIL));
        IMembers.Renewal memory r = IMembers.Renewal(lapsing, until, DEADLINE);
        members.renew(r, attested(hashOf(r)));

        _refuse(r, abi.encodeWithSelector(IMembers.UntilNotLater.selector, until, until));
    }

    function testRenewNotMember(address account) public {
        vm.assume(!isMember(account));
        _refuse(
            IMembers.Renewal(account, UNTIL, DEADLINE), abi.encodeWithSelector(IMembers.NotMember.selector, account)
        );
    }

    function testRenewAfterDeadline(uint48 deadline) public {
        deadline = uint48(bound(deadline, 0, START - 1));
        _refuse(
            IMembers.Renewal(lapsing, UNTIL, deadline),
            abi.encodeWithSelector(IQuorum.DeadlinePassed.selector, deadline, START)
        );
    }

    /// Appraisers are no attesters: each contract has its own quorum.
    function testRenewByAnotherQuorum() public {
        IMembers.Renewal memory r = IMembers.Renewal(lapsing, UNTIL, DEADLINE);
        Signature[] memory quorum = sign(appraiserKeys, typed(membersDomain(), hashOf(r)));
        vm.expectRevert(abi.encodeWithSelector(IQuorum.NotInQuorum.selector, quorum[0].signer));
        members.renew(r, quorum);
    }

    function testRenewSignedForAnotherMember(address account) public {
        vm.assume(account != lapsing);
        IMembers.Renewal memory r = IMembers.Renewal(account, UNTIL, DEADLINE);
        Signature[] memory quorum = attested(hashOf(r));
        r.member = lapsing;
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadSignature.selector, quorum[0].signer));
        members.renew(r, quorum);
    }

    function _refuse(IMembers.Renewal memory r, bytes memory reason) private {
        Signature[] memory quorum = attested(hashOf(r));
        vm.expectRevert(reason);
        members.renew(r, quorum);
    }
}
