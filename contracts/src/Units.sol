// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Holdings} from "./Holdings.sol";
import {Revenue} from "./Revenue.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {Standing} from "./interfaces/Types.sol";

/// @title Units: every movement of units
abstract contract Units is Revenue {
    constructor(address members) Holdings(members) {}

    /// What is sent, and what is minted to an owner.
    function _update(address from, address to, uint256 asset, uint256 units) internal override {
        (address fromRoot, address toRoot) = _checkReceiver(from, to);
        Head memory head = _assets[asset].head;
        _carry(head, from, to, asset, units);
        if (units != 0 && !head.retired) _move(head.class, from, to, fromRoot, toRoot, units);
    }

    /// Every movement of units comes through here; there is no way to burn. When it returns, the balances have moved and
    /// `units` exist, so that no sum after it overflows; what the groups hold is still to be moved.
    function _carry(Head memory head, address from, address to, uint256 asset, uint256 units) internal {
        if (head.index != 0) {
            if (from != address(0)) _see(asset, from, head.index);
            _see(asset, to, head.index);
        }
        if (head.retired) {
            _sync(head.class, asset, from);
            _sync(head.class, asset, to);
        }
        super._update(from, to, asset, units);
    }

    function _sync(uint256 number, uint256 asset, address holder) internal {
        // The commons is in the total of the class alone, from which it went at once.
        if (holder == address(this) || _isSynced[asset][holder]) return;

        uint256 units = balanceOf(holder, asset);
        _isSynced[asset][holder] = true;
        if (units != 0) _drop(number, holder, units);

        emit ILedger.Synced(asset, holder, units);
    }

    function _recover(uint256 asset, address member, address successor, address root) internal {
        StoredAsset storage stored = _assets[asset];
        Head memory head = stored.head;
        uint256 units = balanceOf(member, asset);
        if (head.units == 0) revert ILedger.UnknownAsset(asset);

        if (stored.operator == member) stored.operator = successor;
        _carry(head, member, successor, asset, units);
        uint256 revenue = _bequeath(asset, member, successor);
        // One group, so that no limit is looked at.
        if (!head.retired) _move(head.class, member, successor, root, root, units);

        emit ILedger.UnitsRecovered(asset, member, successor, units, revenue);
    }

    function _checkReceiver(address from, address to) internal view returns (address fromRoot, address toRoot) {
        Standing standing;
        (fromRoot, toRoot, standing) = IMembers(_members).rootsOf(from, to);
        // The commons takes no share: units come to it by `decline`, and by what exceeds a limit.
        if (standing == Standing.INACTIVE || to == address(this)) revert ILedger.NotActiveMember(to);
        // What it sends for itself it has asked for.
        if (standing == Standing.REFUSING && fromRoot != toRoot && msg.sender != to) revert ILedger.RefusesGifts(to);
    }
}
