// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Holdings} from "./Holdings.sol";
import {ILedger} from "./interfaces/ILedger.sol";

/// @title Assets: what is kept of every asset
abstract contract Assets is Holdings {
    /// What a transfer reads of an asset: one slot. `index` is the revenue of one micro-unit since the beginning, in 2^-32
    /// of the payment token's smallest unit.
    struct Head {
        uint120 index;
        uint64 units;
        uint48 expiresAt;
        uint8 class; // its number
        uint8 level;
        bool retired;
    }

    struct StoredAsset {
        Head head;
        address operator;
        /// Revenue that did not divide by the units: it waits for the next.
        uint64 remainder;
        uint128 commonsPrice;
        bytes32 contentHash;
        bytes32 resultHash;
        bytes32 meterKeyX;
        bytes32 meterKeyY;
        bytes32 devicesHash;
        string uri;
    }

    mapping(uint256 asset => StoredAsset) internal _assets;
    mapping(bytes32 device => uint256) internal _assetOfDevice;
    mapping(bytes32 contentHash => uint256) internal _assetOfContent;
    /// Whose units of a retired asset are out of what groups hold.
    mapping(uint256 asset => mapping(address holder => bool)) internal _isSynced;

    /// The asset, which exists and is not retired.
    function _standing(uint256 asset) internal view returns (StoredAsset storage stored) {
        stored = _assets[asset];
        if (stored.head.units == 0) revert ILedger.UnknownAsset(asset);
        if (stored.head.retired) revert ILedger.IsRetired(asset);
    }
}
