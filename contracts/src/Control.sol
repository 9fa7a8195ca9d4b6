// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";

import {Groups} from "./Groups.sol";
import {Signers} from "./Signers.sol";
import {IAccess} from "./interfaces/IAccess.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {Signature} from "./interfaces/Types.sol";

/// @title Control: who joins a group, who leaves it, and who stands in the place of a lost key
abstract contract Control is Groups, Signers, EIP712, Nonces {
    struct Detaching {
        uint48 readyAt;
        /// Tells this detachment from an earlier one of the same member: the nonce of its statement.
        uint208 round;
    }

    struct Recovering {
        address successor;
        uint48 readyAt;
    }

    bytes32 private constant ATTACHMENT =
        keccak256("Attachment(address member,address controller,uint256 nonce,uint48 deadline)");
    bytes32 private constant FINDING =
        keccak256("Finding(address member,address controller,bytes32 evidence,uint48 deadline)");
    bytes32 private constant DETACHMENT =
        keccak256("Detachment(address member,bytes32 evidence,uint256 nonce,uint48 deadline)");
    bytes32 private constant RECOVERY =
        keccak256("Recovery(address member,address successor,bytes32 evidence,uint256 nonce,uint48 deadline)");
    uint48 private constant MIN_DELAY = 1 days;
    uint48 private constant MAX_DELAY = 90 days;

    /// @inheritdoc IMembers
    address public immutable ledger;
    /// @inheritdoc IMembers
    address public immutable access;
    /// @inheritdoc IMembers
    uint48 public immutable detachDelay;
    /// @inheritdoc IMembers
    uint48 public immutable recoveryDelay;

    mapping(bytes32 digest => bool) private _findingUsed;
    mapping(address member => Detaching) private _detachings;
    mapping(address member => mapping(uint256 round => mapping(address root => bool))) private _challenged;
    mapping(address member => Recovering) private _recoveries;

    constructor(uint48 detachDelay_, uint48 recoveryDelay_, address ledger_, address access_) {
        _checkDelay(detachDelay_);
        _checkDelay(recoveryDelay_);
        (detachDelay, recoveryDelay) = (detachDelay_, recoveryDelay_);
        (ledger, access) = (ledger_, access_);
    }

    /// @inheritdoc IMembers
    function attach(Attachment calldata a, bytes calldata memberSignature, bytes calldata controllerSignature)
        external
    {
        if (block.timestamp > a.deadline) revert DeadlinePassed(a.deadline, block.timestamp);
        (address oldRoot, address newRoot) = _rootsOfMembers(a.member, a.controller);
        if (oldRoot == newRoot) revert SameGroup(oldRoot);
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(ATTACHMENT, a)));
        _checkSignature(oldRoot, digest, memberSignature);
        _checkSignature(newRoot, digest, controllerSignature);
        _useCheckedNonce(a.member, a.nonce);

        _join(a.member, a.controller, oldRoot, newRoot, bytes32(0));
    }

    /// @inheritdoc IMembers
    function find(Finding calldata f, Signature[] calldata quorum) external {
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(FINDING, f)));
        if (f.evidence == 0) revert NoEvidence();
        // Else the finding that made a group could be sent again after the quorum has found that it is none any more.
        if (_findingUsed[digest]) revert FindingUsed(digest);
        (address oldRoot, address newRoot) = _rootsOfMembers(f.member, f.controller);
        if (oldRoot == newRoot) _checkControlled(f.member, f.controller, oldRoot);
        _checkQuorum(digest, f.deadline, quorum);

        _findingUsed[digest] = true;
        // Also of a member that joins another group with its own: it would leave at once whom it was found to belong to.
        if (_detachings[f.member].readyAt != 0) _cancelDetachment(f.member);
        if (oldRoot != newRoot) _join(f.member, f.controller, oldRoot, newRoot, f.evidence);
    }

    /// @inheritdoc IMembers
    function detach(Detachment calldata d, Signature[] calldata quorum) external {
        Member storage member = _standing(d.member);
        uint48 readyAt = _detachings[d.member].readyAt;
        if (d.evidence == 0) revert NoEvidence();
        if (member.controller == address(0)) revert NotControlled(d.member);
        if (readyAt != 0) revert AlreadyStarted(d.member, readyAt);
        _checkQuorum(_hashTypedDataV4(keccak256(abi.encode(DETACHMENT, d))), d.deadline, quorum);
        _useCheckedNonce(d.member, d.nonce);

        readyAt = clock() + detachDelay;
        // forge-lint: disable-next-line(unsafe-typecast)
        _detachings[d.member] = Detaching(readyAt, uint208(d.nonce)); // counted up from 0

        emit DetachStarted(d.member, rootOf(d.member), d.evidence, readyAt);
    }

    /// @inheritdoc IMembers
    function challengeDetach(address member, bytes32 evidence) external {
        Detaching storage detaching = _detachings[member];
        mapping(address root => bool) storage challenged = _challenged[member][detaching.round];
        address root = rootOf(member);
        if (detaching.readyAt == 0) revert NothingStarted(member);
        if (evidence == 0) revert NoEvidence();
        if (msg.sender == root) revert OwnGroup(root);
        if (_members[msg.sender].controller != address(0) || !isActive(msg.sender)) revert NotActiveRoot(msg.sender);
        if (challenged[msg.sender]) revert AlreadyChallenged(member, msg.sender);

        challenged[msg.sender] = true;
        detaching.readyAt = clock() + detachDelay;

        emit DetachChallenged(member, msg.sender, evidence, detaching.readyAt);
    }

    /// @inheritdoc IMembers
    function completeDetach(address account) external {
        _checkReady(account, _detachings[account].readyAt);

        Member storage member = _members[account];
        address[] memory controllers = _pathOf(member.controller);
        delete _detachings[account];
        member.controller = address(0);
        member.since = uint40(block.timestamp);
        _count(account, true);

        emit Detached(account, controllers[0], controllers[controllers.length - 1], clock());

        ILedger(ledger).detach(account, controllers);
        IAccess(access).detach(account, controllers);
    }

    /// @inheritdoc IMembers
    function recover(Recovery calldata r, Signature[] calldata quorum) external {
        _standing(r.member);
        Recovering storage recovery = _recoveries[r.member];
        if (r.evidence == 0) revert NoEvidence();
        // One that can never be carried out, since its successor has become a member by another way, gives place.
        if (recovery.readyAt != 0 && _members[recovery.successor].since == 0) {
            revert AlreadyStarted(r.member, recovery.readyAt);
        }
        _checkNew(r.successor);
        _checkQuorum(_hashTypedDataV4(keccak256(abi.encode(RECOVERY, r))), r.deadline, quorum);
        _useCheckedNonce(r.member, r.nonce);

        uint48 readyAt = clock() + recoveryDelay;
        (recovery.successor, recovery.readyAt) = (r.successor, readyAt);

        emit RecoveryStarted(r.member, r.successor, r.evidence, readyAt);
    }

    /// @inheritdoc IMembers
    function vetoRecovery() external {
        if (_recoveries[msg.sender].readyAt == 0) revert NothingStarted(msg.sender);

        delete _recoveries[msg.sender];

        emit RecoveryVetoed(msg.sender);
    }

    /// @inheritdoc IMembers
    function completeRecovery(address account) external {
        Member memory member = _members[account];
        address successor = _recoveries[account].successor;
        _checkReady(account, _recoveries[account].readyAt);
        _checkNew(successor);

        delete _recoveries[account];
        if (_detachings[account].readyAt != 0) _cancelDetachment(account);
        successorOf[account] = successor;
        // The place among the groups passes on: their number does not change.
        _members[successor] =
            Member(address(0), uint40(block.timestamp), member.until, member.counted, member.refusesGifts);
        if (member.controller != address(0)) _control(successor, member.controller);
        // What the member controls keeps leading to it, and from there to the successor.
        _members[account] = Member(successor, member.since, 0, false, false);

        emit Recovered(account, successor, clock(), member.until);

        ILedger(ledger).replace(account, successor);
        IAccess(access).replace(account, successor);
    }

    /// @inheritdoc IMembers
    function detachmentOf(address member) external view returns (uint48 readyAt) {
        return _detachings[member].readyAt;
    }

    /// @inheritdoc IMembers
    function recoveryOf(address member) external view returns (address successor, uint48 readyAt) {
        Recovering memory recovery = _recoveries[member];
        return (recovery.successor, recovery.readyAt);
    }

    /// No member, no contract that holds what is nobody's, no zero.
    function _checkNew(address account) internal view {
        if (account == address(0)) revert ZeroMember();
        if (account == ledger || account == access) revert SystemAccount(account);
        if (_members[account].since != 0) revert AlreadyMember(account);
    }

    /// Both totals move in the transaction that joins the groups: between two steps the books would be wrong.
    function _join(address member, address controller, address oldRoot, address newRoot, bytes32 evidence) private {
        _control(oldRoot, newRoot);
        _count(oldRoot, false);

        emit Attached(member, controller, oldRoot, newRoot, evidence);

        ILedger(ledger).merge(oldRoot, newRoot);
        IAccess(access).merge(oldRoot, newRoot);
    }

    function _cancelDetachment(address member) private {
        delete _detachings[member];

        emit DetachCancelled(member);
    }

    function _rootsOfMembers(address member, address controller)
        private
        view
        returns (address oldRoot, address newRoot)
    {
        _known(member);
        _known(controller);
        return (rootOf(member), rootOf(controller));
    }

    /// A finding inside a group says something new only of a member that is leaving it, by one that would stay.
    function _checkControlled(address member, address controller, address root) private view {
        if (_detachings[member].readyAt == 0) revert SameGroup(root);
        for (address a = controller; a != address(0); a = _members[a].controller) {
            if (a == member) revert NotController(member, controller);
        }
    }

    function _checkReady(address member, uint48 readyAt) private view {
        if (readyAt == 0) revert NothingStarted(member);
        if (block.timestamp < readyAt) revert NotReady(member, readyAt, block.timestamp);
    }

    function _checkDelay(uint48 delay) private pure {
        if (delay < MIN_DELAY || delay > MAX_DELAY) revert BadDelay(delay, MIN_DELAY, MAX_DELAY);
    }

    function _checkSignature(address signer, bytes32 digest, bytes calldata signature) private view {
        if (!SignatureChecker.isValidSignatureNowCalldata(signer, digest, signature)) revert BadSignature(signer);
    }
}
