// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IQuorum} from "../src/interfaces/IQuorum.sol";
import {Signature} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

/// Leaving a group is the way to evade a limit: it takes a quorum, a delay, and the silence of the others.
contract DetachTest is Base {
    uint48 internal constant READY = START + DETACH_DELAY;

    address internal rival; // the root of another group
    address internal wallet; // controlled by the affiliate, from `_attachWallet` on

    function setUp() public override {
        super.setUp();
        rival = _actor("rival");
        wallet = _actor("wallet");
        admit(rival);
        admit(wallet);
        attach(affiliate, provider);
    }

    /* START */

    function testDetachStarts(bytes32 evidence) public {
        vm.assume(evidence != 0);
        IMembers.Detachment memory d = IMembers.Detachment(affiliate, evidence, 1, DEADLINE);
        Signature[] memory quorum = attested(hashOf(d));

        vm.expectEmit(address(members));
        emit IMembers.DetachStarted(affiliate, provider, evidence, READY);
        vm.prank(relayer);
        members.detach(d, quorum);

        assertEq(members.detachmentOf(affiliate), READY);
        assertEq(members.nonces(affiliate), 2);
        assertEq(members.rootOf(affiliate), provider, "nothing is counted differently until it ends");
        assertEq(members.groups(), 4);
    }

    /// While it runs the group is one: what the member gets counts against the limit of the group.
    function testDetachChangesNoLimitBeforeItEnds() public {
        registerMachine(provider, MOST_HELD);
        uint256 asset = registerMachine(developer, GPU);
        startDetach(affiliate);

        vm.prank(developer);
        vm.expectRevert(
            abi.encodeWithSelector(ILedger.OverHoldingLimit.selector, GPUS, provider, MOST_HELD + 1, MOST_HELD)
        );
        ledger.transfer(affiliate, asset, 1);
    }

    function testDetachWithoutEvidence() public {
        _refuse(IMembers.Detachment(affiliate, 0, 1, DEADLINE), abi.encodeWithSelector(IMembers.NoEvidence.selector));
    }

    function testDetachOfARoot() public {
        _refuse(
            IMembers.Detachment(provider, "evidence", 0, DEADLINE),
            abi.encodeWithSelector(IMembers.NotControlled.selector, provider)
        );
    }

    function testDetachTwice() public {
        startDetach(affiliate);
        _refuse(
            IMembers.Detachment(affiliate, "evidence", 2, DEADLINE),
            abi.encodeWithSelector(IMembers.AlreadyStarted.selector, affiliate, READY)
        );
    }

    function testDetachNotMember(address account) public {
        vm.assume(!isMember(account));
        _refuse(
            IMembers.Detachment(account, "evidence", 0, DEADLINE),
            abi.encodeWithSelector(IMembers.NotMember.selector, account)
        );
    }

    /// The controller of a replaced account is its successor: nobody takes the one from the other.
    function testDetachOfAReplacedMember() public {
        recover(affiliate, stranger);
        _refuse(
            IMembers.Detachment(affiliate, "evidence", 2, DEADLINE),
            abi.encodeWithSelector(IMembers.Replaced.selector, affiliate, stranger)
        );
    }

    function testDetachAfterDeadline(uint48 deadline) public {
        deadline = uint48(bound(deadline, 0, START - 1));
        _refuse(
            IMembers.Detachment(affiliate, "evidence", 1, deadline),
            abi.encodeWithSelector(IQuorum.DeadlinePassed.selector, deadline, START)
        );
    }

    function testDetachWrongNonce(uint256 nonce) public {
        vm.assume(nonce != 1);
        _refuse(
            IMembers.Detachment(affiliate, "evidence", nonce, DEADLINE),
            abi.encodeWithSelector(Nonces.InvalidAccountNonce.selector, affiliate, 1)
        );
    }

    /// Replayed after a quorum has found that the member is controlled still, the statement starts nothing.
    function testDetachOnAUsedStatement() public {
        IMembers.Detachment memory d = IMembers.Detachment(affiliate, "evidence", 1, DEADLINE);
        members.detach(d, attested(hashOf(d)));
        find(affiliate, provider);

        _refuse(d, abi.encodeWithSelector(Nonces.InvalidAccountNonce.selector, affiliate, 2));
    }

    function testDetachOnTheWordOfItsController() public {
        IMembers.Detachment memory d = IMembers.Detachment(affiliate, "evidence", 1, DEADLINE);
        Signature[] memory quorum = new Signature[](2);
        quorum[0] = Signature(provider, sign(keyOf[provider], typed(membersDomain(), hashOf(d))));
        quorum[1] = quorum[0];
        vm.expectRevert(abi.encodeWithSelector(IQuorum.NotInQuorum.selector, provider));
        members.detach(d, quorum);
    }

    function testDetachAnotherStatementThanSigned(bytes32 evidence) public {
        vm.assume(evidence != 0 && evidence != "evidence");
        IMembers.Detachment memory d = IMembers.Detachment(affiliate, "evidence", 1, DEADLINE);
        Signature[] memory quorum = attested(hashOf(d));
        d.evidence = evidence;
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadSignature.selector, quorum[0].signer));
        members.detach(d, quorum);
    }

    /* A FINDING ENDS IT */

    function testFindEndsADetachment() public {
        startDetach(affiliate);
        IMembers.Finding memory f = IMembers.Finding(affiliate, provider, "controlled still", DEADLINE);
        Signature[] memory quorum = attested(hashOf(f));

        vm.expectEmit(address(members));
        emit IMembers.DetachCancelled(affiliate);
        members.find(f, quorum);

        assertEq(members.detachmentOf(affiliate), 0);
        assertEq(members.rootOf(affiliate), provider);
        skipTo(READY);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NothingStarted.selector, affiliate));
        members.completeDetach(affiliate);
    }

    /// Controlled by one that would leave with it: that says nothing against leaving.
    function testFindOfAControllerThatWouldLeaveToo() public {
        attach(rival, wallet);
        attach(wallet, affiliate); // provider <- wallet <- rival
        startDetach(wallet);
        IMembers.Finding memory f = IMembers.Finding(wallet, wallet, "evidence", DEADLINE);
        _refuseFinding(f, abi.encodeWithSelector(IMembers.NotController.selector, wallet, wallet));
        f.controller = rival;
        _refuseFinding(f, abi.encodeWithSelector(IMembers.NotController.selector, wallet, rival));

        // A sibling stays.
        find(wallet, affiliate);
        assertEq(members.detachmentOf(wallet), 0);
    }

    function testFindOfAnotherMemberOfTheGroup() public {
        attach(rival, affiliate);
        startDetach(affiliate);
        IMembers.Finding memory f = IMembers.Finding(rival, provider, "evidence", DEADLINE);
        _refuseFinding(f, abi.encodeWithSelector(IMembers.SameGroup.selector, provider));
    }

    /* COMPLETION */

    /// (T-REX updateIdentity moves the wallet and not the balance): units and credits leave with the member, in the same
    /// transaction, and nothing else does.
    function testDetachMovesUnitsAndCredits(uint64 own, uint64 other, uint64 used, uint64 usedByOther) public {
        own = uint64(bound(own, 0, MOST_HELD / 2));
        other = uint64(bound(other, 0, MOST_HELD / 2));
        uint256 asset = register(machine(50 * GPU), twoShares(affiliate, own, provider, other));
        used = uint64(bound(used, 1, MOST_USED / 2));
        usedByOther = uint64(bound(usedByOther, 1, MOST_USED / 2));
        uint32 window = access.currentWindow() + HORIZON;
        uint256 id = open(asset, window, 0);
        grant(id, affiliate, used);
        grant(id, provider, usedByOther);
        redeem(affiliate, id, used);
        startDetach(affiliate);
        skipTo(READY);

        vm.expectEmit(address(members));
        emit IMembers.Detached(affiliate, provider, provider, READY);
        vm.prank(stranger);
        members.completeDetach(affiliate);

        assertEq(members.rootOf(affiliate), affiliate);
        assertEq(members.groups(), 5);
        assertEq(ledger.heldBy(GPUS, affiliate), own);
        assertEq(ledger.heldBy(GPUS, provider), other);
        assertEq(ledger.balanceOf(affiliate, asset), own);
        assertEq(access.acquiredBy(GPUS, window, affiliate), used);
        assertEq(access.acquiredBy(GPUS, window, provider), usedByOther);
        assertEq(access.redeemedBy(GPUS, window, affiliate), used);
        assertEq(access.redeemedBy(GPUS, window, provider), 0);
    }

    /// With what it controls, out of every total above it.
    function testDetachOfAMemberWithMembersOfItsOwn() public {
        attach(developer, wallet); // provider <- affiliate; wallet <- developer
        attach(wallet, rival); // rival <- wallet <- developer
        attach(rival, provider); // provider <- rival <- wallet <- developer
        registerMachine(developer, GPU);
        registerMachine(wallet, 2 * GPU);
        registerMachine(rival, 4 * GPU);

        detach(wallet);

        assertEq(members.rootOf(developer), wallet);
        assertEq(members.rootOf(rival), provider);
        assertEq(ledger.heldBy(GPUS, wallet), 3 * GPU);
        assertEq(ledger.heldBy(GPUS, developer), GPU);
        assertEq(ledger.heldBy(GPUS, rival), 4 * GPU);
        assertEq(ledger.heldBy(GPUS, provider), 4 * GPU);
    }

    /// A group over its limit is let go like any other: exits never fail because of one.
    function testDetachFromAGroupOverItsLimit() public {
        detach(affiliate);
        registerMachine(provider, MOST_HELD);
        registerMachine(affiliate, MOST_HELD);
        find(affiliate, provider);
        assertTrue(ledger.isOver(GPUS, provider));

        detach(affiliate);

        assertFalse(ledger.isOver(GPUS, provider));
        assertFalse(ledger.isOver(GPUS, affiliate));
    }

    /// The new group starts anew: it votes on nothing that was proposed while it was part of another.
    function testDetachedMemberVotesOnWhatIsProposedLater() public {
        detach(affiliate);
        (, uint48 since,,) = members.memberOf(affiliate);
        assertEq(since, READY);

        vm.warp(READY + 1);
        assertEq(members.getPastVotes(affiliate, READY - 1), 0);
        assertEq(members.getPastVotes(affiliate, READY), 1);
        assertEq(members.getPastTotalSupply(READY - 1), 4);
        assertEq(members.getPastTotalSupply(READY), 5);
    }

    function testDetachALapsedMember() public {
        startDetach(affiliate);
        skipTo(UNTIL);
        members.completeDetach(affiliate);
        assertEq(members.groups(), 5);

        members.lapse(affiliate);

        assertEq(members.groups(), 4);
    }

    function testCompleteDetachTooEarly(uint48 moment) public {
        moment = uint48(bound(moment, START, READY - 1));
        startDetach(affiliate);
        skipTo(moment);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotReady.selector, affiliate, READY, moment));
        members.completeDetach(affiliate);
    }

    function testCompleteDetachWhatWasNotStarted(address account) public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.NothingStarted.selector, account));
        members.completeDetach(account);
    }

    function testCompleteDetachTwice() public {
        detach(affiliate);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NothingStarted.selector, affiliate));
        members.completeDetach(affiliate);
    }

    /// The group that it belongs to at the end is the one that it leaves.
    function testCompleteDetachAfterTheGroupHasJoinedAnother() public {
        registerMachine(affiliate, GPU);
        startDetach(affiliate);
        attach(provider, rival);
        skipTo(READY);

        vm.expectEmit(address(members));
        emit IMembers.Detached(affiliate, provider, rival, READY);
        members.completeDetach(affiliate);

        assertEq(ledger.heldBy(GPUS, rival), 0);
        assertEq(ledger.heldBy(GPUS, provider), 0);
        assertEq(ledger.heldBy(GPUS, affiliate), GPU);
    }

    /// A recovery on the way up leaves the lost account in the path: its totals hold what is below it, too.
    function testDetachBelowAReplacedMember() public {
        registerMachine(affiliate, GPU);
        recover(provider, stranger);
        assertEq(members.rootOf(affiliate), stranger);

        detach(affiliate);

        assertEq(ledger.heldBy(GPUS, stranger), 0);
        assertEq(ledger.heldBy(GPUS, affiliate), GPU);
        assertEq(members.groups(), 5);
    }

    function testDetachHooksOnlyMembers(address sender) public {
        vm.assume(sender != address(members));
        address[] memory controllers = new address[](1);
        controllers[0] = provider;
        vm.startPrank(sender);
        vm.expectRevert(abi.encodeWithSelector(ILedger.OnlyMembers.selector, sender));
        ledger.detach(affiliate, controllers);
        vm.expectRevert(abi.encodeWithSelector(IAccess.OnlyMembers.selector, sender));
        access.detach(affiliate, controllers);
    }

    function _refuse(IMembers.Detachment memory d, bytes memory reason) private {
        Signature[] memory quorum = attested(hashOf(d));
        vm.expectRevert(reason);
        members.detach(d, quorum);
    }

    function _refuseFinding(IMembers.Finding memory f, bytes memory reason) private {
        Signature[] memory quorum = attested(hashOf(f));
        vm.expectRevert(reason);
        members.find(f, quorum);
    }
}
