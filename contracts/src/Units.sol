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
        uint256 number = _carry(from, to, asset, units);
        if (units != 0) _move(number, from, to, fromRoot, toRoot, units);
    }

    /// Every movement of units comes through here; there is no way to burn. When it returns, the balances have moved and
    /// `units` exist, so that no sum after it overflows. What groups hold of class `number` is still to be moved; 0: the
    /// asset is retired, nobody's units count.
    function _carry(address from, address to, uint256 asset, uint256 units) internal returns (uint256 number) {
        Head storage head = _assets[asset].head;
        uint256 index;
        bool retired;
        (number, index, retired) = (head.class, head.index, head.retired); // at once: one read of the slot
        if (index != 0) {
            if (from != address(0)) _see(asset, from, index);
            _see(asset, to, index);
        }
        if (retired) {
            _sync(number, asset, from);
            _sync(number, asset, to);
            number = 0;
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
        uint256 units = balanceOf(member, asset);
        if (stored.head.units == 0) revert ILedger.UnknownAsset(asset);

        if (stored.operator == member) stored.operator = successor;
        uint256 number = _carry(member, successor, asset, units);
        uint256 revenue = _bequeath(asset, member, successor);
        // One group, so that no limit is looked at.
        _move(number, member, successor, root, root, units);

        emit ILedger.UnitsRecovered(asset, member, successor, units, revenue);
    }

    function _checkReceiver(address from, address to) internal view returns (address fromRoot, address toRoot) {
        Standing standing;
        (fromRoot, toRoot, standing) = IMembers(_members).rootsOf(from, to);
        // The commons takes no share: units come to it by `decline`, and by what exceeds a limit.
        if (to == address(this)) revert ILedger.NotActiveMember(to);
        if (standing == Standing.ACTIVE) return (fromRoot, toRoot);
        if (standing == Standing.INACTIVE) revert ILedger.NotActiveMember(to);
        // What it sends for itself it has asked for.
        if (fromRoot != toRoot && msg.sender != to) revert ILedger.RefusesGifts(to);
    }
}
