// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    IERC6909ContentURI,
    IERC6909Metadata,
    IERC6909TokenSupply
} from "@openzeppelin/contracts/interfaces/IERC6909.sol";
import {ERC6909} from "@openzeppelin/contracts/token/ERC6909/ERC6909.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

import {Units} from "./Units.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {Standing} from "./interfaces/Types.sol";

/// @title Views: what the ledger says when asked
abstract contract Views is Units, ILedger, IERC6909TokenSupply, IERC6909Metadata, IERC6909ContentURI {
    /// @inheritdoc ILedger
    function members() external view returns (address) {
        return _members;
    }

    /// @inheritdoc ILedger
    function classOf(bytes32 classId) external view returns (Class memory) {
        StoredClass storage c = _classes[_numberOf[classId]];
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
    function capBase(bytes32 classId) external view returns (uint256 base) {
        (base,) = _limit(_numberOf[classId]);
    }

    /// @inheritdoc ILedger
    function heldBy(bytes32 classId, address account) external view returns (uint256) {
        return _held[_numberOf[classId]][account];
    }

    /// @inheritdoc ILedger
    function headroom(bytes32 classId, address account) external view returns (uint256) {
        return _headroom(_numberOf[classId], IMembers(_members).rootOf(account));
    }

    /// @inheritdoc ILedger
    function isOver(bytes32 classId, address account) external view returns (bool) {
        uint256 number = _numberOf[classId];
        return _held[number][IMembers(_members).rootOf(account)] > _most(number);
    }

    /// @inheritdoc ILedger
    function assetOf(uint256 asset) external view returns (Asset memory) {
        StoredAsset storage stored = _assets[asset];
        Head memory head = stored.head;
        return Asset({
            classId: _idOf(head.class),
            operator: stored.operator,
            expiresAt: head.expiresAt,
            level: head.level,
            retired: head.retired,
            units: head.units,
            contentHash: stored.contentHash,
            resultHash: stored.resultHash,
            meterKeyX: stored.meterKeyX,
            meterKeyY: stored.meterKeyY,
            commonsPrice: stored.commonsPrice
        });
    }

    /// @inheritdoc ILedger
    function isLive(uint256 asset) external view returns (bool) {
        Head memory head = _assets[asset].head;
        return head.expiresAt > block.timestamp && !head.retired;
    }

    /// @inheritdoc ILedger
    function assetOfDevice(bytes32 device) external view returns (uint256) {
        return _assetOfDevice[device];
    }

    /// @inheritdoc ILedger
    function commonsOf(uint256 asset) external view returns (uint256) {
        return balanceOf(address(this), asset);
    }

    /// @inheritdoc ILedger
    function isSynced(uint256 asset, address holder) external view returns (bool) {
        return _isSynced[asset][holder];
    }

    /// @inheritdoc ILedger
    function revenueOf(uint256 asset, address account) external view returns (uint256) {
        return _revenue(asset, account);
    }

    /// @inheritdoc ILedger
    function commonsRevenueOf(address root) external view returns (uint256) {
        return _placeRevenue(root);
    }

    /// @inheritdoc ILedger
    function revenueTotals() external view returns (uint256 accrued, uint256 claimed) {
        return (_accrued, _claimed);
    }

    /// @inheritdoc ILedger
    function canSend(address account) public view returns (bool) {
        return IMembers(_members).successorOf(account) == address(0);
    }

    /// @inheritdoc ILedger
    function canReceive(address account) external view returns (bool) {
        (,, Standing standing) = IMembers(_members).rootsOf(address(0), account);
        return standing == Standing.ACTIVE && account != address(this);
    }

    /// @inheritdoc ILedger
    function canTransfer(address from, address to, uint256 asset, uint256 units) external view returns (bool) {
        if (from == address(0) || from == address(this) || to == address(this)) return false;
        if (units > balanceOf(from, asset) || !canSend(from)) return false;

        (address fromRoot, address toRoot, Standing standing) = IMembers(_members).rootsOf(from, to);
        if (standing == Standing.INACTIVE) return false;
        if (fromRoot == toRoot) return true;
        if (standing == Standing.REFUSING) return false;
        Head memory head = _assets[asset].head;
        return units == 0 || head.retired || _fits(head.class, toRoot, units);
    }

    /// @inheritdoc ILedger
    function getFrozenTokens(address, uint256) external pure returns (uint256) {
        return 0;
    }

    /// @inheritdoc IERC6909TokenSupply
    function totalSupply(uint256 asset) external view returns (uint256) {
        return _assets[asset].head.units;
    }

    /// @inheritdoc IERC6909Metadata
    function name(uint256 asset) external view returns (string memory) {
        return _classes[_assets[asset].head.class].name;
    }

    /// @inheritdoc IERC6909Metadata
    function symbol(uint256 asset) external view returns (string memory) {
        return _classes[_assets[asset].head.class].unit;
    }

    /// @inheritdoc IERC6909Metadata
    function decimals(uint256) external pure returns (uint8) {
        return 6;
    }

    /// @inheritdoc IERC6909ContentURI
    function contractURI() external pure returns (string memory) {
        return 'data:application/json,{"name":"Commonhold Ledger"}';
    }

    /// @inheritdoc IERC6909ContentURI
    function tokenURI(uint256 asset) external view returns (string memory) {
        return _assets[asset].uri;
    }

    /// @notice Not that of ERC-7943 (0x41c4fbad), whose views are here: it would promise a freeze and a forced transfer.
    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(ERC6909, IERC165) returns (bool) {
        return interfaceId == type(IERC6909TokenSupply).interfaceId || interfaceId == type(IERC6909Metadata).interfaceId
            || interfaceId == type(IERC6909ContentURI).interfaceId || super.supportsInterface(interfaceId);
    }
}
