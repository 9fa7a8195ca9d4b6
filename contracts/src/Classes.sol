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
    uint256 internal constant TOTAL_END = 1 << 63; // totals and floors stay below, so that they fit a signed 64-bit column

    bytes32[] internal _classIds;
    mapping(bytes32 classId => uint256) internal _numberOf;
    mapping(uint256 number => StoredClass) internal _classes;

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
    function _most(uint256 number) internal view returns (uint256) {
        Count memory c = _classes[number].count;
        unchecked {
            return _capBase(c) * c.holdBps / BPS; // 63 bits times 14
        }
    }

    function _capBase(Count memory c) internal view returns (uint256 base) {
        // Units that came in this block would let their owner lift the limit, buy and leave in one transaction.
        // The smaller total, then the floor: compared here, since the library's branchless forms cost more.
        base = c.total;
        if (c.startBlock == block.number && c.startTotal < base) base = c.startTotal;
        if (base < c.floorUnits) base = c.floorUnits;
    }
}
