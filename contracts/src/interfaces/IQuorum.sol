// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title IQuorum: why a statement that k of n must sign is refused
interface IQuorum {
    error DeadlinePassed(uint48 deadline, uint256 nowS);
    error QuorumTooSmall(uint256 got, uint256 needed);
    /// Signers must be strictly ascending: this also refuses a signer counted twice.
    error SignersNotAscending(address previous, address signer);
    error NotInQuorum(address signer);
    error BadSignature(address signer);
    /// Constructor only: the threshold is zero or more than the signers.
    error BadThreshold(uint256 threshold, uint256 signers);
    /// Constructor only: a signer is the zero address or listed twice.
    error BadSigner(address signer);
}
