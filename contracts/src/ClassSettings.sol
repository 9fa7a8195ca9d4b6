// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Classes} from "./Classes.sol";
import {Signers} from "./Signers.sol";
import {ILedger} from "./interfaces/ILedger.sol";

/// @title ClassSettings: classes, and what the timelock may change of them
abstract contract ClassSettings is Classes, Signers {
    uint8 internal constant MAX_LEVEL = 5; // 0 declared, 1 keyed, 2 challenged, 3 attested, 4 measured, 5 bound
    bytes32 private constant HOLD_BPS = "holdBps";
    bytes32 private constant USE_BPS = "useBps";
    bytes32 private constant MIN_LEVEL = "minLevel";
    bytes32 private constant FLOOR_UNITS = "floorUnits";
    uint256 private constant LEAST_BPS = 100;
    uint256 private constant MOST_HOLD_BPS = 5_000; // no group ever holds more than half of what is above the floor
    uint256 private constant STEP_BPS = 500;
    uint256 private constant LEAST_FLOOR_STEP = 1e6;

    uint256 private immutable _maxClasses;

    constructor(uint256 maxClasses) {
        if (maxClasses > MAX_CLASSES) revert ILedger.TooManyClasses(maxClasses, MAX_CLASSES);
        _maxClasses = maxClasses;
    }

    function _rule(bytes32 name, bytes32 subject)
        internal
        view
        override
        returns (uint256 min, uint256 max, uint256 step, bool lowerIsTighter)
    {
        Count storage c = _classes[_numberOf[subject]].count;
        if (_numberOf[subject] == 0) return super._rule(name, subject);
        // The floor's limit is at least one unit of account, whichever of the two moves.
        if (name == HOLD_BPS) {
            min = Math.max(LEAST_BPS, Math.ceilDiv(BPS, Math.max(c.floorUnits, 1)));
            return (min, MOST_HOLD_BPS, STEP_BPS, true);
        }
        if (name == FLOOR_UNITS) {
            min = Math.ceilDiv(BPS, Math.max(c.holdBps, 1));
            return (min, TOTAL_END - 1, Math.max(LEAST_FLOOR_STEP, c.floorUnits / 4), true);
        }
        if (name == USE_BPS) return (LEAST_BPS, BPS, STEP_BPS, true);
        if (name == MIN_LEVEL) return (0, MAX_LEVEL, 1, false);
        revert UnknownSetting(name, subject);
    }

    function _read(bytes32 name, bytes32 subject) internal view override returns (uint256) {
        StoredClass storage c = _classes[_numberOf[subject]];
        if (_numberOf[subject] == 0) return super._read(name, subject);
        if (name == HOLD_BPS) return c.count.holdBps;
        if (name == FLOOR_UNITS) return c.count.floorUnits;
        return name == USE_BPS ? c.useBps : c.minLevel; // `_rule` knows no other
    }

    function _write(bytes32 name, bytes32 subject, uint256 value) internal override {
        StoredClass storage c = _classes[_numberOf[subject]];
        // Each is within the bounds of `_rule`, and with that within its type.
        // forge-lint: disable-start(unsafe-typecast)
        if (_numberOf[subject] == 0) super._write(name, subject, value);
        else if (name == HOLD_BPS) c.count.holdBps = uint16(value);
        else if (name == FLOOR_UNITS) c.count.floorUnits = uint64(value);
        else if (name == USE_BPS) c.useBps = uint16(value);
        else c.minLevel = uint8(value);
        // forge-lint: disable-end(unsafe-typecast)
    }

    function _settings() internal view override returns (bytes32[] memory names, bytes32[] memory subjects) {
        bytes32[4] memory each = [HOLD_BPS, USE_BPS, MIN_LEVEL, FLOOR_UNITS];
        uint256 count = _classIds.length * 4;
        names = new bytes32[](count + 1);
        subjects = new bytes32[](count + 1);
        for (uint256 i; i < count; ++i) {
            (names[i], subjects[i]) = (each[i % 4], _classIds[i / 4]);
        }
        names[count] = THRESHOLD;
    }

    function _create(ILedger.ClassParams memory p) internal {
        bytes32 classId = keccak256(bytes(p.name));
        uint256 number = _classIds.length + 1;
        if (number > _maxClasses) revert ILedger.TooManyClasses(number, _maxClasses);
        if (bytes(p.name).length == 0 || _numberOf[classId] != 0) revert ILedger.BadClass(p.name);

        _classIds.push(classId);
        _numberOf[classId] = number;
        _classes[number] =
            StoredClass(Count(0, 0, 0, p.holdBps, p.floorUnits), p.kind, p.useBps, p.minLevel, p.name, p.unit);
        _checkBounds(FLOOR_UNITS, classId);
        _checkBounds(HOLD_BPS, classId);
        _checkBounds(USE_BPS, classId);
        _checkBounds(MIN_LEVEL, classId);

        emit ILedger.ClassCreated(classId, p.name, p.kind, p.unit, p.holdBps, p.useBps, p.minLevel, p.floorUnits);
    }
}
