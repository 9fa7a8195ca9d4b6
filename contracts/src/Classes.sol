// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedger} from "./interfaces/ILedger.sol";
import {Kind} from "./interfaces/Types.sol";

/// @title Classes: how much one group may hold of what
/// @notice Classes are numbered from 1 as they are made; number 0 is no class.
abstract contract Classes {
    /// What a transfer reads of a class: one slot.
    struct Count {
        uint64 total;
        uint64 startTotal;
        uint48 startBlock;
        uint16 holdBps;
        uint64 floorUnits;
    }

    struct StoredClass {
        Count count;
        Kind kind;
        uint16 useBps;
        uint8 minLevel;
        string name;
        string unit;
    }

    uint256 internal constant BPS = 10_000;
    uint256 internal constant MAX_CLASSES = 32; // joining, leaving and recovery visit them all
    uint256 internal constant TOTAL_END = 1 << 63; // totals and floors stay below, so that they fit a signed 64-bit column

    bytes32[] internal _classIds;
    mapping(bytes32 classId => uint256) internal _numberOf;
    StoredClass[MAX_CLASSES + 1] internal _classes; // by number; none is 0

    function _classCount() internal view returns (uint256) {
        return _classIds.length;
    }

    function _idOf(uint256 number) internal view returns (bytes32) {
        return number == 0 ? bytes32(0) : _classIds[number - 1];
    }

    /// Counts new units in the total of their class.
    function _grow(uint256 number, uint64 units) internal {
        Count storage c = _classes[number].count;
        uint256 total = uint256(c.total) + units;
        if (total >= TOTAL_END) revert ILedger.TotalTooLarge(_idOf(number), total);

        _keepStart(c);
        c.total += units;
    }

    function _shrink(uint256 number, uint64 units) internal {
        Count storage c = _classes[number].count;
        _keepStart(c);
        c.total -= units;
    }

    /// Remembers the total that the block began with.
    function _keepStart(Count storage c) private {
        if (c.startBlock == block.number) return;
        c.startTotal = c.total;
        c.startBlock = uint48(block.number);
    }

    /// The largest number of units that one group may hold: `held <= most` is `held * BPS <= capBase * holdBps`.
    function _most(uint256 number) internal view returns (uint256 most) {
        (, most) = _limit(number);
    }

    function _limit(uint256 number) internal view returns (uint256 base, uint256 most) {
        // Units that came in this block would let their owner lift the limit, buy and leave in one transaction.
        // The smaller total, then the floor: compared here, since the library's branchless forms cost more.
        Count storage c = _classes[number].count;
        uint256 start;
        uint256 startBlock;
        uint256 floor;
        // One read of the slot; `most` is the share first.
        (base, start, startBlock, most, floor) = (c.total, c.startTotal, c.startBlock, c.holdBps, c.floorUnits);
        if (startBlock == block.number && start < base) base = start;
        if (base < floor) base = floor;
        unchecked {
            most = base * most / BPS; // 63 bits times 14
        }
    }
}
