// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IMembers} from "../src/interfaces/IMembers.sol";
import {Base} from "./Base.t.sol";

/// Another group objects to a member leaving: the delay starts again, once for each group.
contract ChallengeDetachTest is Base {
    address internal rival; // the root of another group
    address internal wallet; // of nobody's group

    function setUp() public override {
        super.setUp();
        rival = _actor("rival");
        wallet = _actor("wallet");
        admit(rival);
        admit(wallet);
        attach(affiliate, provider);
    }

    function testChallengeStartsTheDelayAgain(uint48 later, bytes32 evidence) public {
        vm.assume(evidence != 0);
        later = uint48(bound(later, 0, 4 * DETACH_DELAY)); // as long as nobody has carried it out
        startDetach(affiliate);
        skipTo(START + later);
        uint48 readyAt = START + later + DETACH_DELAY;

        vm.expectEmit(address(members));
        emit IMembers.DetachChallenged(affiliate, rival, evidence, readyAt);
        vm.prank(rival);
        members.challengeDetach(affiliate, evidence);

        assertEq(members.detachmentOf(affiliate), readyAt);
        vm.warp(readyAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotReady.selector, affiliate, readyAt, readyAt - 1));
        members.completeDetach(affiliate);
        vm.warp(readyAt);
        members.completeDetach(affiliate);
    }

    /// One objection a group: nobody holds another in its group for ever.
    function testChallengeTwice() public {
        startDetach(affiliate);
        vm.startPrank(rival);
        members.challengeDetach(affiliate, "seen");
        vm.expectRevert(abi.encodeWithSelector(IMembers.AlreadyChallenged.selector, affiliate, rival));
        members.challengeDetach(affiliate, "seen again");
        vm.stopPrank();
        vm.prank(developer);
        members.challengeDetach(affiliate, "seen by another");
    }

    /// A detachment that is started later is another one.
    function testChallengeTheNextDetachment() public {
        startDetach(affiliate);
        vm.prank(rival);
        members.challengeDetach(affiliate, "seen");
        find(affiliate, provider);
        startDetach(affiliate);

        vm.prank(rival);
        members.challengeDetach(affiliate, "seen");
    }

    function testChallengeByTheOwnGroup() public {
        startDetach(affiliate);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IMembers.OwnGroup.selector, provider));
        members.challengeDetach(affiliate, "seen");
    }

    function testChallengeByNoActiveRoot(address account) public {
        vm.assume(!isMember(account));
        attach(wallet, rival);
        startDetach(affiliate);
        _refuseChallenge(account);
        _refuseChallenge(wallet);
        _refuseChallenge(affiliate);
        skipTo(UNTIL);
        _refuseChallenge(rival);
    }

    function testChallengeByAReplacedRoot() public {
        recover(rival, stranger);
        startDetach(affiliate);
        _refuseChallenge(rival);
        vm.prank(stranger);
        members.challengeDetach(affiliate, "seen");
    }

    function testChallengeWithoutEvidence() public {
        startDetach(affiliate);
        vm.prank(rival);
        vm.expectRevert(IMembers.NoEvidence.selector);
        members.challengeDetach(affiliate, 0);
    }

    function testChallengeWhatWasNotStarted(address account) public {
        vm.prank(rival);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NothingStarted.selector, account));
        members.challengeDetach(account, "seen");
    }

    function _refuseChallenge(address account) private {
        vm.prank(account);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotActiveRoot.selector, account));
        members.challengeDetach(affiliate, "seen");
    }
}
