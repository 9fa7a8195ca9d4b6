// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IQuorum} from "./IQuorum.sol";
import {ISettings} from "./ISettings.sol";
import {Signature, Standing} from "./Types.sol";

/// @title Members: who takes part, and who controls whom
/// @notice A member is an account that a quorum of attesters admitted. A group is a root member with all members whose
/// `controller` leads to it; every limit of the other contracts counts per group.
///
/// What holds by structure:
/// - One nullifier (one real-world identity) is admitted once; admissions a day are limited, so that no quorum can flood
///   the vote.
/// - A quorum counts every signer once, and only for the chain, contract, statement and deadline that it signed.
/// - Attaching never fails because of a limit: hiding an affiliate must not pay. In the same transaction the group's
///   units and acquired credits move to the totals of the new root, at a cost bounded by classes x open windows.
/// - Leaving a group takes a quorum's statement, `detachDelay`, and a time in which every other group may object once,
///   which starts the delay again; until it ends nothing is counted differently.
/// - A lost key is replaced by a quorum's statement, after `recoveryDelay`, unless the member's own key says no. The
///   successor stands where the member stood, in the same group, with all it had, also over a limit; nothing leaves the
///   group. What a replaced account holds is moved by anyone (`Ledger.recover`, `Access.recover`), and by nobody else.
/// - One group has one vote: `getPastVotes` is 1 for an account that was the root of its group at that time and has been
///   an active member without a break since, else 0. A group that was recovered, renewed after a lapse, or formed later
///   votes on what is proposed later: nobody votes twice.
interface IMembers is IQuorum, ISettings {
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

    /// A quorum's finding that nobody controls `member` any more. `nonce` is `nonces(member)`.
    struct Detachment {
        address member;
        bytes32 evidence;
        uint256 nonce;
        uint48 deadline;
    }

    /// A quorum's finding that the holder of `member` has lost its key and is at `successor`. `nonce` is `nonces(member)`.
    struct Recovery {
        address member;
        address successor;
        bytes32 evidence;
        uint256 nonce;
        uint48 deadline;
    }

    event Admitted(address indexed member, bytes32 indexed nullifier, uint48 since, uint48 until);
    /// `since` changes when the membership had lapsed: it is the start of the unbroken membership.
    event Renewed(address indexed member, uint48 since, uint48 until);
    /// The membership of a root has lapsed and its group counts no longer among the groups, until it is renewed.
    event Lapsed(address indexed member);
    /// The group of `oldRoot` has joined the group of `newRoot`. `evidence` is zero when both sides signed.
    event Attached(
        address indexed member, address indexed controller, address oldRoot, address newRoot, bytes32 evidence
    );
    event DetachStarted(address indexed member, address indexed root, bytes32 evidence, uint48 readyAt);
    event DetachChallenged(address indexed member, address indexed by, bytes32 evidence, uint48 readyAt);
    /// A quorum found again that the member is controlled, or the member was recovered.
    event DetachCancelled(address indexed member);
    /// `member`, with the members it controls, is a group of its own from `since` on.
    event Detached(address indexed member, address indexed oldController, address indexed oldRoot, uint48 since);
    event RecoveryStarted(address indexed member, address indexed successor, bytes32 evidence, uint48 readyAt);
    event RecoveryVetoed(address indexed member);
    /// `successor` is a member in `member`'s place since `since`, until `until`; `member`'s controller is `successor`.
    event Recovered(address indexed member, address indexed successor, uint48 since, uint48 until);
    event GiftsRefused(address indexed member, bool refused);

    error AlreadyMember(address member);
    error NullifierUsed(bytes32 nullifier);
    error NotMember(address account);
    /// The account was replaced: it can neither send nor act.
    error Replaced(address account, address successor);
    error UntilNotLater(uint48 until, uint256 than);
    error UntilTooLate(uint48 until, uint256 most);
    error NotLapsed(address member, uint48 until);
    error NotCounted(address member);
    error TooManyAdmissions(uint256 day, uint256 limit);
    error SameGroup(address root);
    error NotControlled(address member);
    error NoEvidence();
    error ZeroMember();
    /// The account is a contract of the system, which holds what is nobody's.
    error SystemAccount(address account);
    /// The finding was used: who left the group since is found again only by what was found since.
    error FindingUsed(bytes32 digest);
    error NothingStarted(address member);
    error AlreadyStarted(address member, uint48 readyAt);
    error NotReady(address member, uint48 readyAt, uint256 nowS);
    error OwnGroup(address root);
    error AlreadyChallenged(address member, address root);
    error NotActiveRoot(address account);
    /// The finding names, as the controller of a member that is leaving, one that would leave with it.
    error NotController(address member, address controller);
    error NotPast(uint256 timepoint, uint256 nowS);
    /// Constructor only: a delay is out of bounds.
    error BadDelay(uint48 delay, uint48 min, uint48 max);

    /// @notice Admits `a.member` on the word of a quorum of attesters. Anyone may send it.
    function admit(Admission calldata a, Signature[] calldata quorum) external;
    /// @notice Prolongs a membership; `r.until` must be later than the present one.
    function renew(Renewal calldata r, Signature[] calldata quorum) external;
    /// @notice Takes a root whose membership has lapsed out of the number of groups. Anyone may send it.
    function lapse(address member) external;

    /// @notice Joins the group of `a.member` to the group of `a.controller`; both roots have signed `a`.
    function attach(Attachment calldata a, bytes calldata memberSignature, bytes calldata controllerSignature) external;
    /// @notice Joins two groups on a quorum's finding, with nobody's consent, and ends a detachment of `f.member` that was
    /// started. Where `f.member` already is in the group of `f.controller`, only the second.
    function find(Finding calldata f, Signature[] calldata quorum) external;

    /// @notice Starts the detachment of a member from its controller. Anyone may send it.
    function detach(Detachment calldata d, Signature[] calldata quorum) external;
    /// @notice Starts the delay again. Only the active root of another group, once for a member.
    function challengeDetach(address member, bytes32 evidence) external;
    /// @notice Carries out a detachment after its delay. Anyone may send it. The totals of the old and the new group
    /// change in the same transaction.
    function completeDetach(address member) external;

    /// @notice Starts the recovery of a member. `r.successor` was never a member. Anyone may send it.
    function recover(Recovery calldata r, Signature[] calldata quorum) external;
    /// @notice Ends a recovery that was started. Only the member.
    function vetoRecovery() external;
    /// @notice Carries out a recovery after its delay. Anyone may send it.
    function completeRecovery(address member) external;

    /// @notice Refuses, or accepts again, units and credits that others send unasked. Only for the sender itself.
    function refuseGifts(bool refused) external;

    /// @notice The root of the account's group; the account itself when nobody controls it (also for non-members).
    function rootOf(address account) external view returns (address);
    /// @notice The account, its controller and so on to the root.
    function pathOf(address account) external view returns (address[] memory);
    /// @notice All that a transfer asks, in one call: the roots of both accounts, and how `to` stands. Reverts with
    /// Replaced when `from` was replaced.
    function rootsOf(address from, address to) external view returns (address fromRoot, address toRoot, Standing to_);
    /// @notice True while the membership has not lapsed. An inactive member can send, but not receive, redeem or vote.
    function isActive(address account) external view returns (bool);
    /// @notice The stored slot. `since` is zero for an account that never was a member.
    function memberOf(address account)
        external
        view
        returns (address controller, uint48 since, uint48 until, bool refusesGifts);
    /// @notice Who stands in the place of an account that was recovered; zero: it was not.
    function successorOf(address account) external view returns (address);
    function detachmentOf(address member) external view returns (uint48 readyAt);
    function recoveryOf(address member) external view returns (address successor, uint48 readyAt);
    function nullifierUsed(bytes32 nullifier) external view returns (bool);
    function admittedOn(uint256 day) external view returns (uint256);

    /// @notice 1 when the account may vote on what was proposed for `timepoint` (Unix seconds, past), else 0.
    function getPastVotes(address account, uint256 timepoint) external view returns (uint256);
    /// @notice The number of groups at `timepoint`.
    function getPastTotalSupply(uint256 timepoint) external view returns (uint256);
    /// @notice The number of groups now.
    function groups() external view returns (uint256);
    /// @notice ERC-6372: Unix seconds.
    function clock() external view returns (uint48);
    // solhint-disable-next-line func-name-mixedcase
    function CLOCK_MODE() external view returns (string memory);

    function isAttester(address account) external view returns (bool);
    function attesters() external view returns (address[] memory);
    function admissionsPerDay() external view returns (uint256);
    function detachDelay() external view returns (uint48);
    function recoveryDelay() external view returns (uint48);
    function ledger() external view returns (address);
    function access() external view returns (address);
}
