// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title IQuorum: k of n named signers, and why a statement that they must sign is refused
/// @notice The set changes only through the timelock, one signer a call: taking one out works at once, putting one in
/// after `LOOSEN_DELAY`, when anyone may carry it out. `threshold` is a setting (ISettings, name "threshold").
///
/// What holds by structure:
/// - A majority is always needed: `2 * threshold > signers`, and `1 <= threshold <= signers <= 32`.
/// - A signer counts once, and only for the chain, contract, purpose and deadline of what it signed.
/// - What the set has abdicated ("signers") stays as it is for good.
interface IQuorum {
    event SignerScheduled(address indexed signer, uint48 readyAt);
    /// Also for each of the first signers, when the contract is made.
    event SignerAdded(address indexed signer);
    event SignerRemoved(address indexed signer);

    error DeadlinePassed(uint48 deadline, uint256 nowS);
    error QuorumTooSmall(uint256 got, uint256 needed);
    /// Signers must be strictly ascending: this also refuses a signer counted twice.
    error SignersNotAscending(address previous, address signer);
    error NotInQuorum(address signer);
    error BadSignature(address signer);
    /// The threshold would be no majority of the signers, or more than they are.
    error BadThreshold(uint256 threshold, uint256 signers);
    /// A signer is the zero address or listed twice.
    error BadSigner(address signer);
    error TooManySigners(uint256 signers, uint256 most);
    /// Nothing was scheduled, or it is not yet time.
    error SignerNotReady(address signer, uint48 readyAt, uint256 nowS);

    /// @notice Schedules a signer: it signs from `enactSigner` on, at the earliest after `LOOSEN_DELAY`. Only the timelock.
    function addSigner(address signer) external;
    /// @notice Carries out what the timelock scheduled. Anyone may send it.
    function enactSigner(address signer) external;
    /// @notice Takes a signer out, or out of the schedule, at once. The threshold must be met by those who stay.
    /// Only the timelock.
    function removeSigner(address signer) external;

    function threshold() external view returns (uint256);
    /// @notice When a scheduled signer may be added; 0: not scheduled.
    function signerReadyAt(address signer) external view returns (uint48);
}
