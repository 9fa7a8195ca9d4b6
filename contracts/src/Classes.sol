// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {Kind, ZeroAddress} from "./interfaces/Types.sol";

/// @title Classes: how much one group may hold of what
/// @notice The half of the ledger that knows groups and no assets.
abstract contract Classes is ILedger {
    /// What a transfer reads of a class: one slot.
    struct Count {
        uint64 total;
        uint64 startTotal;
        uint48 startBlock;
        uint16 holdBps;
        uint64 floorUnits;
    }

    struct Stored {
        Count count;
        Kind kind;
        uint16 useBps;
        uint8 minLevel;
        string name;
        string unit;
    }

    uint256 private constant BPS = 10_000;
    uint256 private constant MAX_CLASSES = 32; // Members.attach visits them all
    uint256 private constant MAX_LEVEL = 5;
    uint256 private constant TOTAL_END = 1 << 63; // totals and floors stay below, so that they fit a signed 64-bit column

    /// @inheritdoc ILedger
    address public immutable members;

    bytes32[] private _classIds;
    mapping(bytes32 classId => Stored) internal _classes;
    mapping(bytes32 classId => mapping(address root => uint256)) private _held;

    constructor(ClassParams[] memory classes_, address members_) {
        if (members_ == address(0)) revert ZeroAddress();
        if (classes_.length > MAX_CLASSES) revert TooManyClasses(classes_.length, MAX_CLASSES);
        members = members_;
        for (uint256 i; i < classes_.length; ++i) {
            _create(classes_[i]);
        }
    }

    /// @inheritdoc ILedger
    function merge(address oldRoot, address newRoot) external {
        if (msg.sender != members) revert OnlyMembers(msg.sender);

        // No limit is looked at: joining a group must never fail because of one.
        for (uint256 i; i < _classIds.length; ++i) {
            mapping(address root => uint256) storage held = _held[_classIds[i]];
            uint256 units = held[oldRoot];
            if (units == 0) continue;

            held[oldRoot] = 0;
            held[newRoot] += units;
        }
    }

    /// @inheritdoc ILedger
    function classOf(bytes32 classId) external view returns (Class memory) {
        Stored storage c = _classes[classId];
        return Class({
            kind: c.kind,
            holdBps: c.count.holdBps,
            useBps: c.useBps,
            minLevel: c.minLevel,
            floorUnits: c.count.floorUnits,
            total: c.count.total,
            startTotal: c.count.startBlock == block.number ? c.count.startTotal : c.count.total,
            startBlock: c.count.startBlock
        });
    }

    /// @inheritdoc ILedger
    function classIds() external view returns (bytes32[] memory) {
        return _classIds;
    }

    /// @inheritdoc ILedger
    function capBase(bytes32 classId) external view returns (uint256) {
        return _capBase(_classes[classId].count);
    }

    /// @inheritdoc ILedger
    function heldBy(bytes32 classId, address root) external view returns (uint256) {
        return _held[classId][root];
    }

    /// @inheritdoc ILedger
    function headroom(bytes32 classId, address account) external view returns (uint256) {
        return _headroom(classId, IMembers(members).rootOf(account));
    }

    /// @inheritdoc ILedger
    function isOver(bytes32 classId, address account) external view returns (bool) {
        return _held[classId][IMembers(members).rootOf(account)] > _most(classId);
    }

    /// Counts new units in the total of their class, and remembers the total that the block began with.
    function _grow(bytes32 classId, uint64 units) internal {
        Count storage c = _classes[classId].count;
        uint256 total = uint256(c.total) + units;
        if (total >= TOTAL_END) revert TotalTooLarge(classId, total);

        if (c.startBlock != block.number) {
            c.startTotal = c.total;
            c.startBlock = uint48(block.number);
        }
        c.total += units;
    }

    /// Moves units between two groups; from nobody when they are new.
    function _move(bytes32 classId, address fromRoot, address toRoot, uint256 units) internal {
        mapping(address root => uint256) storage held = _held[classId];
        if (fromRoot != address(0)) held[fromRoot] -= units;
        // Written first and checked after: the other way round costs the slot's hash twice.
        uint256 heldNow;
        unchecked {
            heldNow = held[toRoot] += units; // both are less than 2^63
        }
        uint256 most = _most(classId);
        if (heldNow > most) revert OverHoldingLimit(classId, toRoot, heldNow, most);
    }

    /// What `_move` decides.
    function _fits(bytes32 classId, address toRoot, uint256 units) internal view returns (bool) {
        return _held[classId][toRoot] + units <= _most(classId);
    }

    function _headroom(bytes32 classId, address root) internal view returns (uint256) {
        return Math.saturatingSub(_most(classId), _held[classId][root]);
    }

    function _create(ClassParams memory p) private {
        bytes32 classId = keccak256(bytes(p.name));
        Stored storage c = _classes[classId];
        if (
            bytes(p.name).length == 0 || c.count.holdBps != 0 // named twice
                || p.holdBps == 0 || p.holdBps > BPS || p.useBps == 0 || p.useBps > BPS || p.minLevel > MAX_LEVEL
                || p.floorUnits >= TOTAL_END || uint256(p.floorUnits) * p.holdBps < BPS // a limit of no units
        ) revert BadClass(p.name);

        c.count.holdBps = p.holdBps;
        c.count.floorUnits = p.floorUnits;
        c.kind = p.kind;
        c.useBps = p.useBps;
        c.minLevel = p.minLevel;
        c.name = p.name;
        c.unit = p.unit;
        _classIds.push(classId);

        emit ClassCreated(classId, p.name, p.kind, p.unit, p.holdBps, p.useBps, p.minLevel, p.floorUnits);
    }

    /// The largest number of units that one group may hold: `held <= most` is `held * BPS <= capBase * holdBps`.
    function _most(bytes32 classId) private view returns (uint256) {
        Count memory c = _classes[classId].count;
        unchecked {
            return _capBase(c) * c.holdBps / BPS; // 63 bits times 14
        }
    }

    function _capBase(Count memory c) private view returns (uint256 base) {
        // Units that came in this block would let their owner lift the limit, buy and leave in one transaction.
        // The smaller total, then the floor: compared here, since the library's branchless forms cost more.
        base = c.total;
        if (c.startBlock == block.number && c.startTotal < base) base = c.startTotal;
        if (base < c.floorUnits) base = c.floorUnits;
    }
}
