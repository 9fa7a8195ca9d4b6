// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {GovernorTimelockControl} from "@openzeppelin/contracts/governance/extensions/GovernorTimelockControl.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Wiring} from "./Wiring.sol";
import {ICouncil} from "./interfaces/ICouncil.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {System} from "./interfaces/Types.sol";

/// @title Council: one group, one vote
contract Council is ICouncil, GovernorTimelockControl {
    enum Support {
        AGAINST,
        FOR,
        ABSTAIN
    }

    /// One slot: all that a vote counts, and the deadline that it is read for anyway.
    struct Tally {
        uint64 againstVotes;
        uint64 forVotes;
        uint64 abstainVotes;
        uint48 extendedDeadline;
    }

    uint256 private constant BPS = 10_000;
    uint48 private constant MIN_VOTING_DELAY = 1 hours;
    uint48 private constant MAX_VOTING_DELAY = 30 days;
    uint32 private constant MIN_VOTING_PERIOD = 1 days;
    uint32 private constant MAX_VOTING_PERIOD = 60 days;
    uint16 private constant MIN_QUORUM_BPS = 1_000;
    uint16 private constant MAX_QUORUM_BPS = 6_667;
    /// @inheritdoc ICouncil
    uint256 public constant MIN_QUORUM = 3;
    /// @inheritdoc ICouncil
    uint48 public constant LATE_EXTENSION = 1 days;

    /// @inheritdoc ICouncil
    address public immutable members;
    uint48 private immutable _votingDelay;
    uint32 private immutable _votingPeriod;
    /// @inheritdoc ICouncil
    uint16 public immutable quorumBps;

    mapping(uint256 proposalId => Tally) private _tallies;
    mapping(uint256 proposalId => mapping(address account => bool)) private _hasVoted;

    constructor(uint48 votingDelay_, uint32 votingPeriod_, uint16 quorumBps_, System memory system)
        Governor("Commonhold Council")
        GovernorTimelockControl(TimelockController(payable(system.timelock)))
    {
        Wiring.check(system, system.council);
        if (
            votingDelay_ < MIN_VOTING_DELAY || votingDelay_ > MAX_VOTING_DELAY || votingPeriod_ < MIN_VOTING_PERIOD
                || votingPeriod_ > MAX_VOTING_PERIOD || quorumBps_ < MIN_QUORUM_BPS || quorumBps_ > MAX_QUORUM_BPS
        ) revert BadRules(votingDelay_, votingPeriod_, quorumBps_);
        members = system.members;
        _votingDelay = votingDelay_;
        _votingPeriod = votingPeriod_;
        quorumBps = quorumBps_;
    }

    /// @notice Reverts with Fixed: the council acts through its timelock only.
    function relay(address, uint256, bytes calldata) public payable override {
        revert Fixed();
    }

    /// @notice Reverts with Fixed.
    function updateTimelock(TimelockController) public pure override {
        revert Fixed();
    }

    function votingDelay() public view override returns (uint256) {
        return _votingDelay;
    }

    function votingPeriod() public view override returns (uint256) {
        return _votingPeriod;
    }

    /// @notice Who has a vote may propose.
    function proposalThreshold() public pure override returns (uint256) {
        return 1;
    }

    /// @notice The votes for or abstaining that a proposal with this snapshot needs.
    function quorum(uint256 timepoint) public view override returns (uint256) {
        uint256 groups = IMembers(members).getPastTotalSupply(timepoint);
        return Math.max(MIN_QUORUM, Math.ceilDiv(groups * quorumBps, BPS));
    }

    function proposalDeadline(uint256 proposalId) public view override returns (uint256) {
        return Math.max(super.proposalDeadline(proposalId), _tallies[proposalId].extendedDeadline);
    }

    /// @inheritdoc ICouncil
    function proposalVotes(uint256 proposalId)
        external
        view
        returns (uint256 againstVotes, uint256 forVotes, uint256 abstainVotes)
    {
        Tally memory tally = _tallies[proposalId];
        return (tally.againstVotes, tally.forVotes, tally.abstainVotes);
    }

    function hasVoted(uint256 proposalId, address account) external view returns (bool) {
        return _hasVoted[proposalId][account];
    }

    function clock() public view override returns (uint48) {
        return uint48(block.timestamp);
    }

    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() public pure override returns (string memory) {
        return "mode=timestamp";
    }

    // solhint-disable-next-line func-name-mixedcase
    function COUNTING_MODE() external pure returns (string memory) {
        return "support=bravo&quorum=for,abstain";
    }

    function _getVotes(address account, uint256 timepoint, bytes memory) internal view override returns (uint256) {
        return IMembers(members).getPastVotes(account, timepoint);
    }

    /// An account votes once, and only the root of a group has a vote: so a group votes once.
    function _countVote(uint256 proposalId, address account, uint8 support, uint256 weight, bytes memory)
        internal
        override
        returns (uint256)
    {
        if (weight == 0) revert NoVote(account, proposalId);
        if (support > uint8(Support.ABSTAIN)) revert GovernorInvalidVoteType();
        if (_hasVoted[proposalId][account]) revert GovernorAlreadyCastVote(account);

        _hasVoted[proposalId][account] = true;
        Tally memory tally = _tallies[proposalId];
        if (support == uint8(Support.AGAINST)) {
            ++tally.againstVotes;
        } else {
            if (support == uint8(Support.FOR)) ++tally.forVotes;
            else ++tally.abstainVotes;
            _extend(proposalId, tally);
        }
        _tallies[proposalId] = tally;
        return weight;
    }

    /// Whoever completes the quorum in the last moment leaves the others time to answer. Looked at in that last time
    /// only: the quorum is dear to read. Votes count one each, so that one vote alone completes it.
    function _extend(uint256 proposalId, Tally memory tally) private {
        uint48 deadline = clock() + LATE_EXTENSION;
        if (deadline <= proposalDeadline(proposalId)) return;
        if (tally.forVotes + tally.abstainVotes != quorum(proposalSnapshot(proposalId))) return;

        tally.extendedDeadline = deadline;

        emit ProposalExtended(proposalId, deadline);
    }

    function _quorumReached(uint256 proposalId) internal view override returns (bool) {
        Tally memory tally = _tallies[proposalId];
        return tally.forVotes + tally.abstainVotes >= quorum(proposalSnapshot(proposalId));
    }

    function _voteSucceeded(uint256 proposalId) internal view override returns (bool) {
        Tally memory tally = _tallies[proposalId];
        return tally.forVotes > tally.againstVotes;
    }
}
