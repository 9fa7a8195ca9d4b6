// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";

import {Quorum} from "./Quorum.sol";
import {IAccess} from "./interfaces/IAccess.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {Signature, ZeroAddress} from "./interfaces/Types.sol";

contract Members is IMembers, EIP712, Nonces {
    using Quorum for Quorum.Signers;

    /// One slot: a transfer reads it for each side.
    struct Member {
        address controller;
        uint48 since;
        uint48 until;
    }

    bytes32 private constant ADMISSION =
        keccak256("Admission(address member,bytes32 nullifier,uint48 until,uint48 deadline)");
    bytes32 private constant RENEWAL = keccak256("Renewal(address member,uint48 until,uint48 deadline)");
    bytes32 private constant ATTACHMENT =
        keccak256("Attachment(address member,address controller,uint256 nonce,uint48 deadline)");
    bytes32 private constant FINDING =
        keccak256("Finding(address member,address controller,bytes32 evidence,uint48 deadline)");

    /// @inheritdoc IMembers
    address public immutable ledger;
    /// @inheritdoc IMembers
    address public immutable access;

    Quorum.Signers private _attesters;
    /// @inheritdoc IMembers
    uint256 public admissionsPerDay;

    mapping(address account => Member) private _members;
    /// @inheritdoc IMembers
    mapping(bytes32 nullifier => bool) public nullifierUsed;
    mapping(uint256 day => uint256) private _admittedOn;

    constructor(
        address[] memory attesters_,
        uint256 threshold_,
        uint256 admissionsPerDay_,
        address ledger_,
        address access_
    ) EIP712("Commonhold Members", "1") {
        if (ledger_ == address(0) || access_ == address(0)) revert ZeroAddress();
        _attesters.init(attesters_, threshold_);
        admissionsPerDay = admissionsPerDay_;
        ledger = ledger_;
        access = access_;
    }

    /// @inheritdoc IMembers
    function admit(Admission calldata a, Signature[] calldata quorum) external {
        uint256 day = block.timestamp / 1 days;
        if (a.member == address(0)) revert ZeroMember();
        if (_members[a.member].since != 0) revert AlreadyMember(a.member);
        if (nullifierUsed[a.nullifier]) revert NullifierUsed(a.nullifier);
        if (a.until <= block.timestamp) revert UntilNotLater(a.until, block.timestamp);
        if (_admittedOn[day] >= admissionsPerDay) revert TooManyAdmissions(day, admissionsPerDay);
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(ADMISSION, a)));
        _attesters.check(digest, a.deadline, quorum);

        ++_admittedOn[day];
        nullifierUsed[a.nullifier] = true;
        _members[a.member] = Member(address(0), uint48(block.timestamp), a.until);

        emit Admitted(a.member, a.nullifier, uint48(block.timestamp), a.until);
    }

    /// @inheritdoc IMembers
    function renew(Renewal calldata r, Signature[] calldata quorum) external {
        Member storage member = _known(r.member);
        if (r.until <= member.until) revert UntilNotLater(r.until, member.until);
        _attesters.check(_hashTypedDataV4(keccak256(abi.encode(RENEWAL, r))), r.deadline, quorum);

        member.until = r.until;

        emit Renewed(r.member, r.until);
    }

    /// @inheritdoc IMembers
    function attach(Attachment calldata a, bytes calldata memberSignature, bytes calldata controllerSignature)
        external
    {
        if (block.timestamp > a.deadline) revert DeadlinePassed(a.deadline, block.timestamp);
        (address oldRoot, address newRoot) = _twoRoots(a.member, a.controller);
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(ATTACHMENT, a)));
        _checkSignature(oldRoot, digest, memberSignature);
        _checkSignature(newRoot, digest, controllerSignature);
        _useCheckedNonce(a.member, a.nonce);

        _join(a.member, a.controller, oldRoot, newRoot, bytes32(0));
    }

    /// @inheritdoc IMembers
    function find(Finding calldata f, Signature[] calldata quorum) external {
        if (f.evidence == bytes32(0)) revert NoEvidence();
        (address oldRoot, address newRoot) = _twoRoots(f.member, f.controller);
        _attesters.check(_hashTypedDataV4(keccak256(abi.encode(FINDING, f))), f.deadline, quorum);

        _join(f.member, f.controller, oldRoot, newRoot, f.evidence);
    }

    /// @inheritdoc IMembers
    function rootsOf(address from, address to) external view returns (address fromRoot, address toRoot, bool toActive) {
        Member storage receiver = _members[to];
        toActive = receiver.until > block.timestamp;
        toRoot = receiver.controller == address(0) ? to : rootOf(receiver.controller);
        fromRoot = rootOf(from);
    }

    /// @inheritdoc IMembers
    function rootOf(address account) public view returns (address) {
        // One hop, or more where a root with members of its own was attached: joining never loops over members.
        for (address controller; (controller = _members[account].controller) != address(0);) {
            account = controller;
        }
        return account;
    }

    /// @inheritdoc IMembers
    function isActive(address account) public view returns (bool) {
        return _members[account].until > block.timestamp;
    }

    /// @inheritdoc IMembers
    function memberOf(address account) external view returns (address controller, uint48 since, uint48 until) {
        Member memory member = _members[account];
        return (member.controller, member.since, member.until);
    }

    /// @inheritdoc IMembers
    function isAttester(address account) external view returns (bool) {
        return _attesters.has[account];
    }

    /// @inheritdoc IMembers
    function attesters() external view returns (address[] memory) {
        return _attesters.list;
    }

    /// @inheritdoc IMembers
    function threshold() external view returns (uint256) {
        return _attesters.threshold;
    }

    /// Both totals move in the transaction that joins the groups: between two steps the books would be wrong.
    function _join(address member, address controller, address oldRoot, address newRoot, bytes32 evidence) private {
        _members[oldRoot].controller = newRoot;

        emit Attached(member, controller, oldRoot, newRoot, evidence);

        ILedger(ledger).merge(oldRoot, newRoot);
        IAccess(access).merge(oldRoot, newRoot);
    }

    /// The roots differ, so that no chain of controllers ever closes.
    function _twoRoots(address member, address controller) private view returns (address oldRoot, address newRoot) {
        _known(member);
        _known(controller);
        oldRoot = rootOf(member);
        newRoot = rootOf(controller);
        if (oldRoot == newRoot) revert SameGroup(oldRoot);
    }

    function _known(address account) private view returns (Member storage member) {
        member = _members[account];
        if (member.since == 0) revert NotMember(account);
    }

    function _checkSignature(address signer, bytes32 digest, bytes calldata signature) private view {
        if (!SignatureChecker.isValidSignatureNowCalldata(signer, digest, signature)) revert BadSignature(signer);
    }
}
