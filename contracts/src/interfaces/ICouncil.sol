// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Council: how the groups change what may be changed
/// @notice OpenZeppelin's Governor over Timelock, which is a TimelockController without a key: its one proposer is this
/// contract, anyone executes, and neither its roles nor its delay can change. The functions are those of IGovernor.
///
/// What holds by structure:
/// - One group, one vote: the weight is `Members.getPastVotes`, 0 or 1, read at the proposal's snapshot. A vote of no weight
///   is refused.
/// - A proposal passes with more votes for than against and at least `quorum(snapshot)` votes for or abstaining: the share
///   `quorumBps` of the groups of that time, rounded up, and never less than `MIN_QUORUM`. The vote that completes the
///   quorum in the last `LATE_EXTENSION` of the time moves its end, once, so that as much is left to answer.
/// - The council's own rules, and the timelock it works through, are fixed when the contract is made.
/// - What the timelock may do is bounded by ISettings and IQuorum; it holds no other power: no contract has a proxy, an
///   owner, a pause, a freeze or a forced transfer.
interface ICouncil {
    event ProposalExtended(uint256 indexed proposalId, uint64 extendedDeadline);

    /// The account has no vote on this proposal.
    error NoVote(address account, uint256 proposalId);
    /// The rules of the council never change.
    error Fixed();
    /// Constructor only.
    error BadRules(uint48 votingDelay, uint32 votingPeriod, uint16 quorumBps);

    /// @notice The share of the groups that must take part, in 1/10,000.
    function quorumBps() external view returns (uint16);
    /// @notice The fewest votes for or abstaining that a proposal needs, whatever the share.
    // solhint-disable-next-line func-name-mixedcase
    function MIN_QUORUM() external view returns (uint256);
    /// @notice Seconds that the others have after a vote that completed the quorum.
    // solhint-disable-next-line func-name-mixedcase
    function LATE_EXTENSION() external view returns (uint48);
    /// @notice The votes on a proposal so far, as GovernorCountingSimple tells them: support 0, 1 and 2.
    function proposalVotes(uint256 proposalId)
        external
        view
        returns (uint256 againstVotes, uint256 forVotes, uint256 abstainVotes);
    function members() external view returns (address);
}
