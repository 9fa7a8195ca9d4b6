// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Control} from "./Control.sol";
import {Settings} from "./Settings.sol";
import {Signers} from "./Signers.sol";
import {Wiring} from "./Wiring.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {Signature, System} from "./interfaces/Types.sol";

/// @title Members: who is admitted, and for how long
contract Members is Control {
    bytes32 private constant ADMISSION =
        keccak256("Admission(address member,bytes32 nullifier,uint48 until,uint48 deadline)");
    bytes32 private constant RENEWAL = keccak256("Renewal(address member,uint48 until,uint48 deadline)");
    bytes32 private constant ADMISSIONS_PER_DAY = "admissionsPerDay";
    uint256 private constant MOST_ADMISSIONS = 10_000;
    uint256 private constant MAX_TERM = 3 * 365 days;
    /// @inheritdoc IMembers
    uint256 public admissionsPerDay;
    /// @inheritdoc IMembers
    mapping(uint256 day => uint256) public admittedOn;
    /// @inheritdoc IMembers
    mapping(bytes32 nullifier => bool) public nullifierUsed;

    constructor(
        address[] memory attesters_,
        uint256 threshold_,
        uint256 admissionsPerDay_,
        uint48 detachDelay_,
        uint48 recoveryDelay_,
        System memory system
    )
        EIP712("Commonhold Members", "1")
        Settings(system.timelock)
        Control(detachDelay_, recoveryDelay_, system.ledger, system.access)
    {
        Wiring.check(system, system.members);
        _beginSigners(attesters_, threshold_);
        admissionsPerDay = admissionsPerDay_;
        _checkBounds(ADMISSIONS_PER_DAY, 0);

        emit SettingChanged(ADMISSIONS_PER_DAY, 0, admissionsPerDay_);
    }

    /// @inheritdoc IMembers
    function admit(Admission calldata a, Signature[] calldata quorum) external {
        uint256 day = block.timestamp / 1 days;
        _checkNew(a.member);
        if (nullifierUsed[a.nullifier]) revert NullifierUsed(a.nullifier);
        _checkUntil(a.until, block.timestamp);
        if (admittedOn[day] >= admissionsPerDay) revert TooManyAdmissions(day, admissionsPerDay);
        _checkQuorum(_hashTypedDataV4(keccak256(abi.encode(ADMISSION, a))), a.deadline, quorum);

        ++admittedOn[day];
        nullifierUsed[a.nullifier] = true;
        _members[a.member] = Member(address(0), uint40(block.timestamp), uint40(a.until), false, false);
        _count(a.member, true);

        emit Admitted(a.member, a.nullifier, clock(), a.until);

        ILedger(ledger).enter(a.member);
    }

    /// @inheritdoc IMembers
    function renew(Renewal calldata r, Signature[] calldata quorum) external {
        Member storage member = _standing(r.member);
        _checkUntil(r.until, Math.max(member.until, block.timestamp));
        _checkQuorum(_hashTypedDataV4(keccak256(abi.encode(RENEWAL, r))), r.deadline, quorum);

        bool isBack = member.controller == address(0) && !member.counted;
        if (!isActive(r.member)) member.since = uint40(block.timestamp);
        member.until = uint40(r.until);
        if (isBack) _count(r.member, true);

        emit Renewed(r.member, member.since, r.until);

        if (isBack) ILedger(ledger).enter(r.member);
    }

    /// @inheritdoc IMembers
    function lapse(address account) external {
        Member storage member = _known(account);
        if (!member.counted) revert NotCounted(account);
        if (isActive(account)) revert NotLapsed(account, member.until);

        _count(account, false);

        emit Lapsed(account);

        ILedger(ledger).exit(account);
    }

    /// @inheritdoc IMembers
    function refuseGifts(bool refused) external {
        _standing(msg.sender).refusesGifts = refused;

        emit GiftsRefused(msg.sender, refused);
    }

    /// @inheritdoc IMembers
    function isAttester(address account) external view returns (bool) {
        return _isSigner(account);
    }

    /// @inheritdoc IMembers
    function attesters() external view returns (address[] memory) {
        return _signerList();
    }

    function _rule(bytes32 name, bytes32 subject) internal view override returns (uint256, uint256, uint256, bool) {
        if (!_isAdmissionsPerDay(name, subject)) return super._rule(name, subject);
        return (1, MOST_ADMISSIONS, Math.max(1, admissionsPerDay / 2), true);
    }

    function _read(bytes32 name, bytes32 subject) internal view override returns (uint256) {
        return _isAdmissionsPerDay(name, subject) ? admissionsPerDay : super._read(name, subject);
    }

    function _write(bytes32 name, bytes32 subject, uint256 value) internal override {
        if (_isAdmissionsPerDay(name, subject)) admissionsPerDay = value;
        else super._write(name, subject, value);
    }

    function _settings() internal pure override returns (bytes32[] memory names, bytes32[] memory subjects) {
        (names, subjects) = (new bytes32[](2), new bytes32[](2));
        (names[0], names[1]) = (THRESHOLD, ADMISSIONS_PER_DAY);
    }

    function _checkUntil(uint48 until, uint256 than) private view {
        uint256 most = block.timestamp + MAX_TERM;
        if (until <= than) revert UntilNotLater(until, than);
        if (until > most) revert UntilTooLate(until, most);
    }

    function _isAdmissionsPerDay(bytes32 name, bytes32 subject) private pure returns (bool) {
        return name == ADMISSIONS_PER_DAY && subject == 0;
    }
}
