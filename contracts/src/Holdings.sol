// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Classes} from "./Classes.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";

/// @title Holdings: how much every group holds, and no more than it may
/// @notice The part of the ledger that knows groups and no assets.
abstract contract Holdings is Classes {
    address internal immutable _members;

    /// What an account and all that it controls hold, by the number of the class.
    mapping(address node => uint256)[MAX_CLASSES + 1] internal _held;

    constructor(address members) {
        _members = members;
    }

    /// Moves units of a class, if it is one, from `from`, in the group of `fromRoot`, to `to`, in the group of `toRoot`. Both `from` and `fromRoot`
    /// are zero for units that were nobody's.
    function _move(uint256 number, address from, address to, address fromRoot, address toRoot, uint256 units) internal {
        if (number == 0) return;
        mapping(address node => uint256) storage held = _held[number];
        uint256 heldNow;
        if (from == fromRoot && to == toRoot) {
            if (from == to) return;
            // Of a total that has the units of this account in it, to one that stays below 2^63 with them. Written first
            // and checked after: the other way round costs the slot's hash twice.
            unchecked {
                if (from != address(0)) held[from] -= units;
                heldNow = held[to] += units;
            }
        } else {
            _moveInTree(held, _path(from, fromRoot), _path(to, toRoot), units);
            if (fromRoot == toRoot) return;
            heldNow = held[toRoot];
        }
        (, uint256 most) = _limit(number);
        if (heldNow > most) revert ILedger.OverHoldingLimit(_idOf(number), toRoot, heldNow, most);
    }

    /// Counts units of `account` no more.
    function _drop(uint256 number, address account, uint256 units) internal {
        if (number == 0) return;
        address[] memory path = IMembers(_members).pathOf(account);
        for (uint256 i; i < path.length; ++i) {
            _held[number][path[i]] -= units;
        }
    }

    function _mergeTotals(address oldRoot, address newRoot) internal {
        // No limit is looked at: joining a group must never fail because of one.
        for (uint256 number = 1; number <= _classCount(); ++number) {
            mapping(address node => uint256) storage held = _held[number];
            uint256 units = held[oldRoot];
            if (units == 0) continue;

            uint256 heldNow = held[newRoot] += units;
            uint256 most = _most(number);
            if (heldNow > most) emit ILedger.OverLimit(_idOf(number), newRoot, heldNow, most);
        }
    }

    function _detachTotals(address member, address[] calldata controllers) internal {
        for (uint256 number = 1; number <= _classCount(); ++number) {
            uint256 units = _held[number][member];
            if (units == 0) continue;

            for (uint256 i; i < controllers.length; ++i) {
                _held[number][controllers[i]] -= units;
            }
        }
    }

    function _replaceTotals(address member, address successor) internal {
        for (uint256 number = 1; number <= _classCount(); ++number) {
            uint256 units = _held[number][member];
            if (units != 0) _held[number][successor] = units;
        }
    }

    /// A key that was lost does nothing, also before what it had is recovered.
    function _checkNotReplaced(address account) internal view {
        address successor = IMembers(_members).successorOf(account);
        if (successor != address(0)) revert IMembers.Replaced(account, successor);
    }

    /// What `_move` decides.
    function _fits(uint256 number, address toRoot, uint256 units) internal view returns (bool) {
        return units <= _headroom(number, toRoot);
    }

    function _headroom(uint256 number, address root) internal view returns (uint256) {
        return Math.saturatingSub(_most(number), _held[number][root]);
    }

    /// Up to the lowest node above both: there and higher up nothing changes.
    function _moveInTree(
        mapping(address node => uint256) storage held,
        address[] memory down,
        address[] memory up,
        uint256 units
    ) private {
        uint256 downs = down.length;
        uint256 ups = up.length;
        for (; downs != 0 && ups != 0 && down[downs - 1] == up[ups - 1]; --downs) {
            --ups;
        }
        for (uint256 i; i < downs; ++i) {
            held[down[i]] -= units;
        }
        for (uint256 i; i < ups; ++i) {
            held[up[i]] += units;
        }
    }

    function _path(address account, address root) private view returns (address[] memory path) {
        if (account != root) return IMembers(_members).pathOf(account);
        if (account == address(0)) return path; // nobody
        path = new address[](1);
        path[0] = account;
    }
}
