// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IQuorum} from "./IQuorum.sol";
import {Signature} from "./Types.sol";

/// @title Members: who takes part, and who controls whom
/// @notice A member is an account that a quorum of attesters admitted. A group is a root member with all members whose
/// `controller` leads to it; every limit of the other contracts counts per group.
///
/// What holds by structure:
/// - The attesters, their threshold and the rate limit are fixed when the contract is made; no account can change them.
/// - One nullifier (one real-world identity) is admitted once.
/// - A quorum counts every signer once, and only for the chain, contract, statement and deadline that it signed.
/// - Attaching never fails because of a limit: hiding an affiliate must not pay. In the same transaction the group's
///   units and acquired credits move to the totals of the new root, at a cost bounded by classes x open windows.
/// - There is no way out of a group in this version (no detach), so no way to evade a limit by leaving one.
interface IMembers is IQuorum {
    /// `until` is the second at which membership lapses; `deadline` the last second at which the statement may be used.
    struct Admission {
        address member;
        bytes32 nullifier;
        uint48 until;
        uint48 deadline;
    }

    struct Renewal {
        address member;
        uint48 until;
        uint48 deadline;
    }

    /// Both roots sign. `nonce` is `nonces(member)`: the statement can be used once.
    struct Attachment {
        address member;
        address controller;
        uint256 nonce;
        uint48 deadline;
    }

    /// A quorum's finding that `controller` controls `member`; `evidence` is the hash of what they saw, never zero.
    struct Finding {
        address member;
        address controller;
        bytes32 evidence;
        uint48 deadline;
    }

    event Admitted(address indexed member, bytes32 indexed nullifier, uint48 since, uint48 until);
    event Renewed(address indexed member, uint48 until);
    /// The group of `oldRoot` has joined the group of `newRoot`. `evidence` is zero when both sides signed.
    event Attached(
        address indexed member, address indexed controller, address oldRoot, address newRoot, bytes32 evidence
    );

    error AlreadyMember(address member);
    error NullifierUsed(bytes32 nullifier);
    error NotMember(address account);
    error UntilNotLater(uint48 until, uint256 than);
    error TooManyAdmissions(uint256 day, uint256 limit);
    error SameGroup(address root);
    error NoEvidence();
    error ZeroMember();

    /// @notice Admits `a.member` on the word of a quorum of attesters. Anyone may send it.
    function admit(Admission calldata a, Signature[] calldata quorum) external;

    /// @notice Prolongs a membership; `r.until` must be later than the present one.
    function renew(Renewal calldata r, Signature[] calldata quorum) external;

    /// @notice Joins the group of `a.member` to the group of `a.controller`; both roots have signed `a`.
    function attach(Attachment calldata a, bytes calldata memberSignature, bytes calldata controllerSignature) external;

    /// @notice Joins two groups on a quorum's finding, with nobody's consent.
    function find(Finding calldata f, Signature[] calldata quorum) external;

    /// @notice The root of the account's group; the account itself when nobody controls it (also for non-members).
    function rootOf(address account) external view returns (address);
    /// @notice The roots of both accounts and whether `to` is active: all that a transfer asks, in one call.
    function rootsOf(address from, address to) external view returns (address fromRoot, address toRoot, bool toActive);
    /// @notice True while the membership has not lapsed. An inactive member can send, but not receive or redeem.
    function isActive(address account) external view returns (bool);
    /// @notice The stored slot. `since` is zero for an account that never was a member.
    function memberOf(address account) external view returns (address controller, uint48 since, uint48 until);
    function nullifierUsed(bytes32 nullifier) external view returns (bool);
    function isAttester(address account) external view returns (bool);
    function attesters() external view returns (address[] memory);
    function threshold() external view returns (uint256);
    function admissionsPerDay() external view returns (uint256);
    function ledger() external view returns (address);
    function access() external view returns (address);
}
