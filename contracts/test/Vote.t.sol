// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";

import {ICouncil} from "../src/interfaces/ICouncil.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {ISettings} from "../src/interfaces/ISettings.sol";
import {Base} from "./Base.t.sol";

/// One group, one vote, as the groups were at the snapshot.
contract VoteTest is Base {
    uint8 internal constant AGAINST = 0;
    uint8 internal constant FOR = 1;
    uint8 internal constant ABSTAIN = 2;

    address internal wallet; // of the affiliate's group

    function setUp() public override {
        super.setUp();
        wallet = _actor("wallet");
        admit(wallet);
        attach(wallet, affiliate);
        skipTo(START + 1);
    }

    function testVote(uint8 support) public {
        support = uint8(bound(support, AGAINST, ABSTAIN));
        uint256 id = _active();
        assertFalse(council.hasVoted(id, provider));

        vm.expectEmit(system.council);
        emit IGovernor.VoteCast(provider, id, support, 1, "");
        vm.prank(provider);
        council.castVote(id, support);

        assertTrue(council.hasVoted(id, provider));
        uint256[3] memory votes;
        (votes[AGAINST], votes[FOR], votes[ABSTAIN]) = council.proposalVotes(id);
        for (uint256 i; i < 3; ++i) {
            assertEq(votes[i], i == support ? 1 : 0);
        }
    }

    function testVoteTwice(uint8 support, uint8 again) public {
        uint256 id = _active();
        vm.startPrank(provider);
        council.castVote(id, uint8(bound(support, AGAINST, ABSTAIN)));
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorAlreadyCastVote.selector, provider));
        council.castVote(id, uint8(bound(again, AGAINST, ABSTAIN)));
    }

    function testVoteOfAnUnknownKind(uint8 support) public {
        support = uint8(bound(support, 3, type(uint8).max));
        uint256 id = _active();
        vm.prank(provider);
        vm.expectRevert(IGovernor.GovernorInvalidVoteType.selector);
        council.castVote(id, support);
    }

    function testVoteBeforeAndAfterItsTime() public {
        uint256 id = _propose();
        skipTo(council.proposalSnapshot(id));
        _refuseInState(id, IGovernor.ProposalState.Pending);
        skipTo(council.proposalDeadline(id) + 1);
        _refuseInState(id, IGovernor.ProposalState.Defeated);
    }

    /// Signed by the root, sent by anybody, counted once.
    function testVoteBySignature() public {
        uint256 id = _active();
        bytes32 ballot = keccak256("Ballot(uint256 proposalId,uint8 support,address voter,uint256 nonce)");
        bytes32 digest = typed(
            domainOf("Commonhold Council", block.chainid, system.council),
            keccak256(abi.encode(ballot, id, FOR, provider, 0))
        );
        bytes memory signature = sign(keyOf[provider], digest);

        vm.startPrank(relayer);
        council.castVoteBySig(id, FOR, provider, signature);
        vm.expectRevert(abi.encodeWithSelector(IGovernor.GovernorInvalidSignature.selector, provider));
        council.castVoteBySig(id, FOR, provider, signature);

        assertTrue(council.hasVoted(id, provider));
        assertFalse(council.hasVoted(id, relayer));
    }

    /* ONE GROUP, ONE VOTE */

    /// livepeer 625: who was no longer registered kept votes. And in OpenZeppelin's Votes who does not delegate has none: nobody has to delegate to itself first.
    function testVoteOfAStranger(address account) public {
        vm.assume(!isMember(account));
        _refuse(_active(), account);
    }

    /// Not per wallet (OpenZeppelin's hasVoted alone would let each wallet use the vote again).
    function testVoteOfAControlledMember() public {
        uint256 id = _active();
        _refuse(id, wallet);
        _vote(id, affiliate, FOR);
        _refuse(id, wallet);
    }

    /// agent-governed-vaults 330: the cap held for delegated votes only. Here nothing is delegated, and units count nothing.
    function testVoteOfTheLargestHolderCountsOne() public {
        registerMachine(provider, MOST_HELD);
        uint256 id = _active();
        _vote(id, provider, FOR);
        (, uint256 inFavour,) = council.proposalVotes(id);
        assertEq(inFavour, 1);
    }

    function testVoteOfTheCommonsIsNone() public {
        register(machine(FLOOR), noShares());
        uint256 id = _active();
        _refuse(id, system.ledger);
    }

    /* BETWEEN THE SNAPSHOT AND THE VOTE */

    /// Two groups then, one now: each was heard as what it was.
    function testAttachedAfterTheSnapshot() public {
        uint256 id = _active();
        attach(provider, developer);

        _vote(id, provider, FOR);
        _vote(id, developer, FOR);
    }

    function testAttachedBeforeTheSnapshot() public {
        uint256 id = _propose();
        attach(provider, developer);
        skipTo(council.proposalSnapshot(id) + 1);

        _refuse(id, provider);
        _vote(id, developer, FOR);
        assertEq(members.getPastTotalSupply(council.proposalSnapshot(id)), 2);
    }

    /// In the very second of the snapshot: the vote and the number of groups agree on how it ended.
    function testAttachedAtTheSnapshot() public {
        uint256 id = _propose();
        skipTo(council.proposalSnapshot(id));
        attach(provider, developer);
        skipTo(block.timestamp + 1);

        _refuse(id, provider);
        assertEq(members.getPastTotalSupply(council.proposalSnapshot(id)), 2);
    }

    /// One group then, two now: only the root of then is heard, though the other is a root now.
    function testDetachedAfterTheSnapshot() public {
        startDetach(wallet);
        uint256 id = _active();
        skipTo(START + 1 + DETACH_DELAY);
        members.completeDetach(wallet);

        _refuse(id, wallet);
        _vote(id, affiliate, FOR);
        _refuse(id, wallet);
    }

    /// Subtensor averages power over time for this: nobody gathers votes in the block in which they count.
    function testAdmittedAfterTheProposal() public {
        uint256 id = _propose();
        uint256 snapshot = council.proposalSnapshot(id);
        address early = _actor("early");
        address late = _actor("late");
        skipTo(snapshot);
        admit(early);
        skipTo(snapshot + 1);
        admit(late);
        skipTo(snapshot + 2);

        _vote(id, early, FOR);
        _refuse(id, late);
        assertEq(members.getPastTotalSupply(snapshot), 4);
    }

    /// The old key may have voted: the new one does not vote again, and the old one is out.
    function testRecoveredAfterTheSnapshot() public {
        startRecovery(provider, stranger);
        startRecovery(developer, relayer);
        uint256 id = _active();
        _vote(id, provider, FOR);
        skipTo(START + 1 + RECOVERY_DELAY);
        members.completeRecovery(provider);
        members.completeRecovery(developer);

        _refuse(id, provider);
        _refuse(id, stranger);
        _refuse(id, developer);
        _refuse(id, relayer);
    }

    function testLapsedAfterTheSnapshot() public {
        address lapsing = _actor("lapsing");
        admit(lapsing, START + 1 + VOTING_DELAY + 2);
        uint256 id = _active();
        skipTo(block.timestamp + 1);

        _refuse(id, lapsing);
        IMembers.Renewal memory r = IMembers.Renewal(lapsing, UNTIL, DEADLINE);
        members.renew(r, attested(hashOf(r)));
        _refuse(id, lapsing); // a member again since now
    }

    /// Whatever joins, leaves, loses its key or comes back between the snapshot and the vote: no more votes are cast than
    /// there were groups.
    function testNoMoreVotesThanGroups(uint256 seed) public {
        startDetach(wallet);
        startRecovery(developer, stranger);
        uint256 id = _active();
        address[6] memory accounts = [provider, affiliate, developer, wallet, stranger, relayer];
        for (uint256 i; i < 12; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            if (i == 4) skipTo(START + 1 + RECOVERY_DELAY);
            _step(seed);
            vm.prank(accounts[(seed >> 16) % 6]);
            (bool voted,) = system.council.call(abi.encodeCall(IGovernor.castVote, (id, FOR)));
            voted;
        }
        for (uint256 i; i < 6; ++i) {
            vm.prank(accounts[i]);
            (bool voted,) = system.council.call(abi.encodeCall(IGovernor.castVote, (id, FOR)));
            voted;
        }

        (, uint256 inFavour,) = council.proposalVotes(id);
        assertLe(inFavour, members.getPastTotalSupply(council.proposalSnapshot(id)));
        assertEq(members.getPastTotalSupply(council.proposalSnapshot(id)), 3);
    }

    /* QUORUM AND MAJORITY */

    /// snapshot-strategies 1374: the share is of all groups, not of those who vote. Rounded up, against who proposes.
    function testQuorumRoundsUp(uint8 newcomers) public {
        newcomers = uint8(bound(newcomers, 0, 60));
        for (uint160 i; i < newcomers; ++i) {
            admit(address(0x10000 + i));
        }
        skipTo(block.timestamp + 1);

        uint256 groups = 3 + uint256(newcomers);
        uint256 needed = council.quorum(block.timestamp - 1);

        assertGe(needed, 3);
        assertGe(needed * 10_000, groups * QUORUM_BPS);
        if (needed > 3) assertLt((needed - 1) * 10_000, groups * QUORUM_BPS);
    }

    /// Two of three is more than the share, and fewer than decide anything.
    function testMinimumQuorum() public {
        uint256 id = _active();
        assertEq(council.quorum(council.proposalSnapshot(id)), 3);
        _vote(id, provider, FOR);
        _vote(id, affiliate, FOR);
        uint256 before = vm.snapshotState();

        skipTo(council.proposalDeadline(id) + 1);
        assertEq(uint8(council.state(id)), uint8(IGovernor.ProposalState.Defeated));

        vm.revertToState(before);
        _vote(id, developer, ABSTAIN);
        skipTo(council.proposalDeadline(id) + 1);
        assertEq(uint8(council.state(id)), uint8(IGovernor.ProposalState.Succeeded));
    }

    /// Votes against make no quorum, and a tie is a no.
    function testMajority() public {
        address fourth = _actor("fourth");
        admit(fourth);
        skipTo(block.timestamp + 1);
        uint256 id = _active();
        _vote(id, provider, FOR);
        _vote(id, affiliate, AGAINST);
        _vote(id, developer, ABSTAIN);
        uint256 before = vm.snapshotState();
        skipTo(council.proposalDeadline(id) + 1);
        assertEq(uint8(council.state(id)), uint8(IGovernor.ProposalState.Defeated), "no quorum");

        vm.revertToState(before);
        before = vm.snapshotState();
        _vote(id, fourth, ABSTAIN);
        skipTo(council.proposalDeadline(id) + 1);
        assertEq(uint8(council.state(id)), uint8(IGovernor.ProposalState.Defeated), "a tie");

        vm.revertToState(before);
        _vote(id, fourth, FOR);
        skipTo(council.proposalDeadline(id) + 1);
        assertEq(uint8(council.state(id)), uint8(IGovernor.ProposalState.Succeeded));
    }

    /* A LATE QUORUM */

    /// OpenZeppelin's GovernorPreventLateQuorum: who completes the quorum in the last moment leaves the others a day.
    function testLateQuorumExtends(uint48 left) public {
        left = uint48(bound(left, 0, 1 days - 1));
        uint256 id = _active();
        uint256 deadline = council.proposalDeadline(id);
        _vote(id, provider, FOR);
        _vote(id, affiliate, FOR);
        skipTo(deadline - left);

        vm.expectEmit(system.council);
        emit ICouncil.ProposalExtended(id, uint64(deadline - left + 1 days));
        _vote(id, developer, FOR);

        assertEq(council.proposalDeadline(id), deadline - left + 1 days);
        skipTo(deadline - left + 1 days);
        assertEq(uint8(council.state(id)), uint8(IGovernor.ProposalState.Active));
        skipTo(block.timestamp + 1);
        assertEq(uint8(council.state(id)), uint8(IGovernor.ProposalState.Succeeded));
    }

    /// Once: the vote after the one that completed it, or one against, moves nothing.
    function testLateQuorumExtendsOnce() public {
        address fourth = _actor("fourth");
        address fifth = _actor("fifth");
        admit(fourth);
        admit(fifth);
        skipTo(block.timestamp + 1);
        uint256 id = _active();
        skipTo(council.proposalDeadline(id));
        _vote(id, provider, FOR);
        _vote(id, affiliate, ABSTAIN);
        _vote(id, developer, FOR);
        uint256 extended = council.proposalDeadline(id);
        assertEq(extended, block.timestamp + 1 days);

        skipTo(extended);
        _vote(id, fourth, AGAINST);
        _vote(id, fifth, FOR);

        assertEq(council.proposalDeadline(id), extended);
    }

    function testEarlyQuorumExtendsNothing() public {
        uint256 id = _active();
        uint256 deadline = council.proposalDeadline(id);
        _vote(id, provider, FOR);
        _vote(id, affiliate, FOR);
        skipTo(deadline - 1 days);
        _vote(id, developer, FOR);

        assertEq(council.proposalDeadline(id), deadline);
    }

    function _propose() private returns (uint256 id) {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) =
            (new address[](1), new uint256[](1), new bytes[](1));
        (targets[0], calls[0]) = (system.ledger, abi.encodeCall(ISettings.change, ("holdBps", GPUS, HOLD_BPS - 500)));
        vm.prank(provider);
        return council.propose(targets, values, calls, "why");
    }

    function _active() private returns (uint256 id) {
        id = _propose();
        skipTo(council.proposalSnapshot(id) + 1);
    }

    function _vote(uint256 id, address account, uint8 support) private {
        vm.prank(account);
        council.castVote(id, support);
    }

    function _refuse(uint256 id, address account) private {
        vm.prank(account);
        vm.expectRevert(abi.encodeWithSelector(ICouncil.NoVote.selector, account, id));
        council.castVote(id, FOR);
    }

    function _refuseInState(uint256 id, IGovernor.ProposalState state) private {
        vm.prank(provider);
        vm.expectRevert(
            abi.encodeWithSelector(
                IGovernor.GovernorUnexpectedProposalState.selector,
                id,
                state,
                bytes32(1 << uint8(IGovernor.ProposalState.Active))
            )
        );
        council.castVote(id, FOR);
    }

    /// One of the things that change who is a group; those that cannot be done now do nothing.
    function _step(uint256 seed) private {
        uint256 kind = seed % 5;
        if (kind == 0 && members.rootOf(wallet) == wallet) attach(wallet, provider);
        if (kind == 1) _try(abi.encodeCall(IMembers.completeDetach, (wallet)));
        if (kind == 2) _try(abi.encodeCall(IMembers.completeRecovery, (developer)));
        if (kind == 3 && members.rootOf(affiliate) != members.rootOf(provider)) find(affiliate, provider);
        if (kind == 4 && !isMember(relayer)) admit(relayer);
    }

    function _try(bytes memory data) private {
        (bool done,) = system.members.call(data);
        done;
    }
}
