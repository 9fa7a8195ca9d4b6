// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {
    IERC6909ContentURI,
    IERC6909Metadata,
    IERC6909TokenSupply
} from "@openzeppelin/contracts/interfaces/IERC6909.sol";
import {ERC6909} from "@openzeppelin/contracts/token/ERC6909/ERC6909.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Classes} from "./Classes.sol";
import {Quorum} from "./Quorum.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {Kind, Signature} from "./interfaces/Types.sol";

contract Ledger is Classes, ERC6909, EIP712, IERC6909TokenSupply, IERC6909Metadata, IERC6909ContentURI {
    using Quorum for Quorum.Signers;

    bytes32 private constant APPRAISAL = keccak256(
        "Appraisal(bytes32 classId,address registrant,bytes32 contentHash,bytes32 resultHash,string policy,uint64 units,uint8 level,bytes32[] devices,bytes32 meterKeyX,bytes32 meterKeyY,uint48 expiresAt,uint48 deadline)"
    );
    Quorum.Signers private _appraisers;
    mapping(uint256 asset => Asset) private _assets;
    mapping(uint256 asset => bytes32) private _devicesHash;
    mapping(uint256 asset => string) private _uris;
    /// @inheritdoc ILedger
    mapping(bytes32 device => uint256) public assetOfDevice;
    mapping(bytes32 contentHash => uint256) private _assetOfContent;

    constructor(address[] memory appraisers_, uint256 threshold_, ClassParams[] memory classes_, address members_)
        Classes(classes_, members_)
        EIP712("Commonhold Ledger", "1")
    {
        _appraisers.init(appraisers_, threshold_);
    }

    /// @inheritdoc ILedger
    function register(Appraisal calldata a, Signature[] calldata quorum, Share[] calldata split, string calldata uri)
        external
        returns (uint256 asset)
    {
        if (msg.sender != a.registrant) revert NotRegistrant(msg.sender, a.registrant);
        asset = _check(a, quorum);
        if (_assets[asset].classId != bytes32(0)) revert AssetExists(asset);
        if (a.units == 0) revert NoUnits();

        _grow(a.classId, a.units);
        _claim(asset, a);
        _write(asset, a);
        _assets[asset].units = a.units;
        _uris[asset] = uri;

        _emitRegistered(asset, a, uri);

        _mintShares(asset, a, split);
    }

    /// @inheritdoc ILedger
    function renew(uint256 asset, Appraisal calldata a, Signature[] calldata quorum) external {
        Asset storage stored = _assets[asset];
        if (stored.classId == bytes32(0)) revert UnknownAsset(asset);
        if (a.classId != stored.classId) revert ClassDiffers(a.classId, stored.classId);
        if (a.registrant != stored.operator) revert NotRegistrant(a.registrant, stored.operator);
        if (a.units != stored.units) revert UnitsDiffer(a.units, stored.units);
        if (_hash(a.devices) != _devicesHash[asset]) revert DevicesDiffer();
        // The evidence of a machine is new at every appraisal; a dataset with another manifest is another dataset.
        if (_classes[a.classId].kind != Kind.COMPUTE && a.contentHash != stored.contentHash) {
            revert ContentDiffers(a.contentHash, stored.contentHash);
        }
        if (a.expiresAt <= stored.expiresAt) revert ExpiryNotLater(a.expiresAt, stored.expiresAt);
        _check(a, quorum);

        _write(asset, a);

        emit AppraisalRenewed(
            asset, a.level, a.policy, a.contentHash, a.resultHash, a.meterKeyX, a.meterKeyY, a.expiresAt
        );
    }

    /// @inheritdoc ILedger
    function canTransfer(address from, address to, uint256 asset, uint256 units) external view returns (bool) {
        if (from == address(0) || units > balanceOf(from, asset)) return false;

        (address fromRoot, address toRoot, bool toActive) = IMembers(members).rootsOf(from, to);
        if (!toActive || to == address(this)) return false;
        return units == 0 || fromRoot == toRoot || _fits(_assets[asset].classId, toRoot, units);
    }

    /// @inheritdoc ILedger
    function assetOf(uint256 asset) external view returns (Asset memory) {
        return _assets[asset];
    }

    /// @inheritdoc ILedger
    function isLive(uint256 asset) external view returns (bool) {
        return _assets[asset].expiresAt > block.timestamp;
    }

    /// @inheritdoc ILedger
    function isAppraiser(address account) external view returns (bool) {
        return _appraisers.has[account];
    }

    /// @inheritdoc ILedger
    function appraisers() external view returns (address[] memory) {
        return _appraisers.list;
    }

    /// @inheritdoc ILedger
    function threshold() external view returns (uint256) {
        return _appraisers.threshold;
    }

    /// @inheritdoc IERC6909TokenSupply
    function totalSupply(uint256 asset) external view returns (uint256) {
        return _assets[asset].units;
    }

    /// @inheritdoc IERC6909Metadata
    function name(uint256 asset) external view returns (string memory) {
        return _classes[_assets[asset].classId].name;
    }

    /// @inheritdoc IERC6909Metadata
    function symbol(uint256 asset) external view returns (string memory) {
        return _classes[_assets[asset].classId].unit;
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
        return _uris[asset];
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(ERC6909, IERC165) returns (bool) {
        return interfaceId == type(IERC6909TokenSupply).interfaceId || interfaceId == type(IERC6909Metadata).interfaceId
            || interfaceId == type(IERC6909ContentURI).interfaceId || super.supportsInterface(interfaceId);
    }

    /// Every movement of units comes through here. There is no way to burn.
    function _update(address from, address to, uint256 asset, uint256 units) internal override {
        // Balances first: past this line `units` exist, so no sum below overflows.
        super._update(from, to, asset, units);
        // The commons: in the total of the class, in nobody's group. Once registered, nothing comes to it or leaves it.
        if (to == address(this)) {
            if (from != address(0)) revert NotActiveMember(to);
            return;
        }

        (address fromRoot, address toRoot, bool toActive) = IMembers(members).rootsOf(from, to);
        if (!toActive) revert NotActiveMember(to);
        if (units == 0 || fromRoot == toRoot) return;

        bytes32 classId = _assets[asset].classId;
        _move(classId, fromRoot, toRoot, units);
    }

    function _mintShares(uint256 asset, Appraisal calldata a, Share[] calldata split) private {
        uint256 asked;
        uint256 minted;
        for (uint256 i; i < split.length; ++i) {
            address owner = split[i].owner;
            if (owner == address(this)) revert NotActiveMember(owner); // the commons takes the rest, not a share
            asked += split[i].units;
            if (asked > a.units) revert UnitsDiffer(asked, a.units);

            uint256 units = Math.min(split[i].units, _headroom(a.classId, IMembers(members).rootOf(owner)));
            // Also when nothing is left for it: the receiver is checked in `_update`.
            _mint(owner, asset, units);
            minted += units;
        }
        if (minted < a.units) _mint(address(this), asset, a.units - minted);
    }

    /// Takes what the asset is made of, so that nothing is counted under two assets.
    function _claim(uint256 asset, Appraisal calldata a) private {
        if (_classes[a.classId].kind != Kind.COMPUTE) {
            uint256 other = _assetOfContent[a.contentHash];
            if (other != 0) revert ContentInUse(a.contentHash, other);
            _assetOfContent[a.contentHash] = asset;
        }

        bytes32 previous;
        for (uint256 i; i < a.devices.length; ++i) {
            bytes32 device = a.devices[i];
            if (device <= previous) revert DevicesNotAscending(previous, device);
            if (assetOfDevice[device] != 0) revert DeviceInUse(device, assetOfDevice[device]);
            assetOfDevice[device] = asset;
            previous = device;
        }
        _devicesHash[asset] = _hash(a.devices);
    }

    /// What a renewal replaces as well.
    function _write(uint256 asset, Appraisal calldata a) private {
        Asset storage stored = _assets[asset];
        stored.classId = a.classId;
        stored.operator = a.registrant;
        stored.expiresAt = a.expiresAt;
        stored.level = a.level;
        stored.contentHash = a.contentHash;
        stored.resultHash = a.resultHash;
        stored.meterKeyX = a.meterKeyX;
        stored.meterKeyY = a.meterKeyY;
    }

    function _emitRegistered(uint256 asset, Appraisal memory a, string memory uri) private {
        emit Registered(
            asset,
            a.classId,
            a.registrant,
            a.units,
            a.level,
            a.policy,
            a.contentHash,
            a.resultHash,
            a.devices,
            a.meterKeyX,
            a.meterKeyY,
            a.expiresAt,
            uri
        );
    }

    /// What holds for every appraisal, new or renewed. Returns the asset that it would register.
    function _check(Appraisal calldata a, Signature[] calldata quorum) private view returns (uint256 asset) {
        Stored storage c = _classes[a.classId];
        if (c.count.holdBps == 0) revert UnknownClass(a.classId);
        if (a.level < c.minLevel) revert LevelTooLow(a.level, c.minLevel);
        if (a.expiresAt <= block.timestamp) revert AppraisalExpired(a.expiresAt, block.timestamp);
        if ((c.kind == Kind.COMPUTE) != (a.devices.length != 0)) revert DevicesDiffer();
        bool noKey = a.meterKeyX | a.meterKeyY == bytes32(0);
        if (noKey ? c.kind == Kind.COMPUTE : !P256.isValidPublicKey(a.meterKeyX, a.meterKeyY)) revert BadMeterKey();
        bytes32 digest = _digest(a);
        _appraisers.check(digest, a.deadline, quorum);

        // 192 bits, so that an asset, a window and a tranche make one id of a credit.
        return uint256(uint192(uint256(digest)));
    }

    /// In two halves: thirteen words at once are more than the stack reaches.
    function _digest(Appraisal calldata a) private view returns (bytes32) {
        bytes memory head = abi.encode(
            APPRAISAL, a.classId, a.registrant, a.contentHash, a.resultHash, keccak256(bytes(a.policy)), a.units
        );
        bytes memory tail = abi.encode(a.level, _hash(a.devices), a.meterKeyX, a.meterKeyY, a.expiresAt, a.deadline);
        return _hashTypedDataV4(keccak256(bytes.concat(head, tail)));
    }

    function _hash(bytes32[] calldata devices) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(devices));
    }
}
