// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC6909} from "@openzeppelin/contracts/token/ERC6909/ERC6909.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {Assets} from "./Assets.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";

/// @title Revenue: what the units of an asset have earned, and whose it is
/// @notice An index per asset grows with what a micro-unit earns; who comes into units or gives them away is first credited
/// with the growth since it was last seen. Parts are kept in 2^-32 of the payment token's smallest unit and nothing is
/// rounded before it is paid, so that a transfer loses none of it. The ledger itself holds the commons like any account.
abstract contract Revenue is Assets, ERC6909 {
    using SafeCast for uint256;

    struct Earned {
        uint120 index; // the asset's, when the account was last seen
        uint128 owed; // since then not: in 2^-32
    }

    /// The part of a group, or of what was one, in what the commons earns: in whole units of the payment token.
    struct Place {
        uint120 index;
        uint128 owed;
        bool isGroup;
    }

    /// What every group has earned since the beginning. `remainder` did not divide by the groups.
    struct Pool {
        uint120 index;
        uint64 remainder;
        uint64 groups;
    }

    uint256 private constant FRACTION = 32; // bits

    mapping(uint256 asset => mapping(address account => Earned)) private _earned;
    mapping(address root => Place) private _places;
    Pool private _pool;
    uint128 internal _accrued;
    uint128 internal _claimed;

    function _accrue(uint256 asset, uint256 amount) internal {
        StoredAsset storage stored = _assets[asset];
        uint256 units = stored.head.units;
        if (units == 0) revert ILedger.UnknownAsset(asset);

        uint128 added = amount.toUint128();
        uint256 scaled = (amount << FRACTION) + stored.remainder;
        uint256 index = stored.head.index + scaled / units;
        // All that the units have ever earned fits 128 bits, so that no account's part fails a transfer.
        (index * units).toUint128();
        stored.head.index = index.toUint120();
        // forge-lint: disable-next-line(unsafe-typecast)
        stored.remainder = uint64(scaled % units); // less than `units`
        _accrued += added;

        emit ILedger.Accrued(asset, amount);
    }

    /// Takes all that is owed to `account`, without the fraction.
    function _collect(uint256 asset, address account) internal returns (uint256 amount) {
        _see(asset, account, _assets[asset].head.index);
        Earned storage e = _earned[asset][account];
        amount = e.owed >> FRACTION;
        if (amount == 0) revert ILedger.NothingToClaim(account);

        // forge-lint: disable-next-line(unsafe-typecast)
        e.owed -= uint128(amount << FRACTION); // what was shifted out above
    }

    /// Shares among the groups what the commons has earned with an asset.
    function _share(uint256 asset) internal returns (uint256 amount) {
        Pool memory pool = _pool;
        if (pool.groups == 0) revert ILedger.NoGroups();
        amount = _collect(asset, address(this));

        uint256 shared = amount + pool.remainder;
        pool.index = (pool.index + shared / pool.groups).toUint120();
        // forge-lint: disable-next-line(unsafe-typecast)
        pool.remainder = uint64(shared % pool.groups); // less than `groups`
        _pool = pool;

        emit ILedger.CommonsShared(asset, amount, pool.groups);
    }

    /// Takes the part of a group, or of what was one.
    function _collectPlace(address root) internal returns (uint256 amount) {
        amount = _placeRevenue(root);
        if (amount == 0) revert ILedger.NothingToClaim(root);

        (_places[root].index, _places[root].owed) = (_pool.index, 0);
    }

    function _revenue(uint256 asset, address account) internal view returns (uint256) {
        Earned memory e = _earned[asset][account];
        return (e.owed + balanceOf(account, asset) * (_assets[asset].head.index - e.index)) >> FRACTION;
    }

    function _placeRevenue(address root) internal view returns (uint256) {
        Place memory place = _places[root];
        return place.isGroup ? place.owed + (_pool.index - place.index) : place.owed;
    }

    /// Credits `account` with what its units have earned since it was last seen. Before its balance changes.
    function _see(uint256 asset, address account, uint256 index) internal {
        Earned storage e = _earned[asset][account];
        uint256 growth = index - e.index;
        if (growth == 0) return;

        // forge-lint: disable-next-line(unsafe-typecast)
        e.index = uint120(index);
        // forge-lint: disable-next-line(unsafe-typecast)
        e.owed += uint128(balanceOf(account, asset) * growth); // no more than `index * units` of `accrue`
    }

    /// Moves the revenue of an account to another. Returns how much that was, without the fraction. Both have been seen.
    function _bequeath(uint256 asset, address from, address to) internal returns (uint256 amount) {
        uint128 owed = _earned[asset][from].owed;
        if (owed == 0) return 0;

        _earned[asset][from].owed = 0;
        _earned[asset][to].owed += owed;
        return owed >> FRACTION;
    }

    function _enter(address root) internal {
        Place storage place = _places[root];
        if (place.isGroup) return;

        (place.index, place.isGroup) = (_pool.index, true);
        ++_pool.groups;
    }

    function _exit(address root) internal {
        Place storage place = _places[root];
        if (!place.isGroup) return;

        place.owed += _pool.index - place.index;
        place.isGroup = false;
        --_pool.groups;
    }

    function _replacePlace(address member, address successor) internal {
        _places[successor] = _places[member];
        delete _places[member];
    }

    /// The account, or who stands in its place: nothing is paid to a key that is lost.
    function _inPlaceOf(address account) internal view returns (address) {
        for (address next; (next = IMembers(_members).successorOf(account)) != address(0);) {
            account = next;
        }
        return account;
    }
}
