// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {ClassSettings} from "./ClassSettings.sol";
import {Settings} from "./Settings.sol";
import {Units} from "./Units.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {Kind, Signature} from "./interfaces/Types.sol";

/// @title Registry: the code of the ledger that its day does not need
/// @notice The ledger is more code than a chain accepts in one contract. It makes a registry in its constructor and runs
/// the registry's code as its own (delegatecall), over its own storage, for appraisals, classes, settings and appraisers.
/// Which contract that is never changes. What the registry itself stores is nothing: called directly it is a ledger
/// without classes, assets or appraisers.
///
/// Both begin with `Units`, so that every variable is in the same slot; Ledger declares none, the ones here come after.
contract Registry is Units, ClassSettings, EIP712 {
    bytes32 private constant APPRAISAL = keccak256(
        "Appraisal(bytes32 classId,address registrant,bytes32 contentHash,bytes32 resultHash,string policy,uint64 units,uint8 level,bytes32[] devices,bytes32 meterKeyX,bytes32 meterKeyY,uint48 expiresAt,uint48 deadline)"
    );
    uint48 private constant LEAST_GRACE = 1 days;
    uint48 private constant MOST_GRACE = 180 days;

    uint48 private immutable _gracePeriod;

    /// The first appraisers and classes are set once: in the constructor of the ledger.
    error AlreadyBegun();

    constructor(uint256 maxClasses, uint48 gracePeriod, address timelock_, address members)
        Units(members)
        ClassSettings(maxClasses)
        Settings(timelock_)
        EIP712("Commonhold Ledger", "1")
    {
        if (gracePeriod < LEAST_GRACE || gracePeriod > MOST_GRACE) {
            revert ILedger.BadGracePeriod(gracePeriod, LEAST_GRACE, MOST_GRACE);
        }
        _gracePeriod = gracePeriod;
    }

    function begin(address[] calldata appraisers_, uint256 threshold_, ILedger.ClassParams[] calldata classes_)
        external
    {
        // An account has no code while its constructor runs, and never again after.
        if (address(this).code.length != 0) revert AlreadyBegun();

        _beginSigners(appraisers_, threshold_);
        for (uint256 i; i < classes_.length; ++i) {
            _create(classes_[i]);
        }
    }

    /// @notice See ILedger.
    function createClass(ILedger.ClassParams calldata params) external onlyTimelock {
        _create(params);
    }

    /// @notice See ILedger.
    function register(
        ILedger.Appraisal calldata a,
        Signature[] calldata quorum,
        ILedger.Share[] calldata split,
        uint128 commonsPrice,
        string calldata uri
    ) external returns (uint256 asset) {
        asset = _enroll(a, quorum, commonsPrice, uri);
        _mintShares(asset, a, split);
    }

    /// @notice See ILedger.
    function renew(uint256 asset, ILedger.Appraisal calldata a, Signature[] calldata quorum) external {
        StoredAsset storage stored = _standing(asset);
        bytes32 classId = _idOf(stored.head.class);
        if (a.classId != classId) revert ILedger.ClassDiffers(a.classId, classId);
        if (a.registrant != stored.operator) revert ILedger.NotRegistrant(a.registrant, stored.operator);
        if (a.units != stored.head.units) revert ILedger.UnitsDiffer(a.units, stored.head.units);
        if (_hash(a.devices) != stored.devicesHash) revert ILedger.DevicesDiffer();
        // The evidence of a machine is new at every appraisal; a dataset with another manifest is another dataset.
        if (_classes[stored.head.class].kind != Kind.COMPUTE && a.contentHash != stored.contentHash) {
            revert ILedger.ContentDiffers(a.contentHash, stored.contentHash);
        }
        if (a.expiresAt <= stored.head.expiresAt) revert ILedger.ExpiryNotLater(a.expiresAt, stored.head.expiresAt);
        _check(a, quorum);

        _write(stored, a);

        emit ILedger.AppraisalRenewed(
            asset, a.level, a.policy, a.contentHash, a.resultHash, a.meterKeyX, a.meterKeyY, a.expiresAt
        );
    }

    /// @notice See ILedger.
    function lowerCommonsPrice(uint256 asset, uint128 price) external {
        StoredAsset storage stored = _assets[asset];
        if (msg.sender != stored.operator) revert ILedger.NotRegistrant(msg.sender, stored.operator);
        _checkNotReplaced(msg.sender);
        if (price >= stored.commonsPrice) revert ILedger.PriceNotLower(price, stored.commonsPrice);

        stored.commonsPrice = price;

        emit ILedger.CommonsPriced(asset, price);
    }

    /// @notice See ILedger.
    function retire(uint256 asset, bytes32[] calldata devices) external {
        StoredAsset storage stored = _standing(asset);
        Head memory head = stored.head;
        uint256 retirableAt = uint256(head.expiresAt) + _gracePeriod;
        if (block.timestamp < retirableAt) revert ILedger.NotLapsed(asset, retirableAt, block.timestamp);
        if (_hash(devices) != stored.devicesHash) revert ILedger.DevicesDiffer();

        stored.head.retired = true;
        _shrink(head.class, head.units);
        for (uint256 i; i < devices.length; ++i) {
            delete _assetOfDevice[devices[i]];
        }
        if (_classes[head.class].kind != Kind.COMPUTE) delete _assetOfContent[stored.contentHash];

        emit ILedger.Retired(asset, _idOf(head.class), head.units);
    }

    /// @notice See ILedger.
    function isAppraiser(address account) external view returns (bool) {
        return _isSigner(account);
    }

    /// @notice See ILedger.
    function appraisers() external view returns (address[] memory) {
        return _signerList();
    }

    /// Writes a new asset. Its units are in the total of the class, and nobody's yet.
    function _enroll(
        ILedger.Appraisal calldata a,
        Signature[] calldata quorum,
        uint128 commonsPrice,
        string calldata uri
    ) private returns (uint256 asset) {
        if (msg.sender != a.registrant) revert ILedger.NotRegistrant(msg.sender, a.registrant);
        asset = _check(a, quorum);
        StoredAsset storage stored = _assets[asset];
        if (stored.head.units != 0) revert ILedger.AssetExists(asset);
        if (a.units == 0) revert ILedger.NoUnits();

        uint256 number = _numberOf[a.classId];
        _grow(number, a.units);
        _claimParts(asset, a);
        _write(stored, a);
        stored.head.units = a.units;
        // forge-lint: disable-next-line(unsafe-typecast)
        stored.head.class = uint8(number); // of 32 at most
        stored.operator = a.registrant;
        stored.commonsPrice = commonsPrice;
        stored.devicesHash = _hash(a.devices);
        stored.uri = uri;

        _emitRegistered(asset, a, uri);
        emit ILedger.CommonsPriced(asset, commonsPrice);
    }

    function _mintShares(uint256 asset, ILedger.Appraisal calldata a, ILedger.Share[] calldata split) private {
        uint256 number = _numberOf[a.classId];
        uint256 asked;
        uint256 minted;
        for (uint256 i; i < split.length; ++i) {
            address owner = split[i].owner;
            asked += split[i].units;
            if (asked > a.units) revert ILedger.UnitsDiffer(asked, a.units);

            uint256 units = Math.min(split[i].units, _headroom(number, IMembers(_members).rootOf(owner)));
            // Also when nothing is left for it: the receiver is checked in `_update`.
            _mint(owner, asset, units);
            minted += units;
        }
        // In the total of the class, in nobody's group.
        if (minted < a.units) _carry(address(0), address(this), asset, a.units - minted);
    }

    /// Takes what the asset is made of, so that nothing is counted under two assets.
    function _claimParts(uint256 asset, ILedger.Appraisal calldata a) private {
        if (_classes[_numberOf[a.classId]].kind != Kind.COMPUTE) {
            uint256 other = _assetOfContent[a.contentHash];
            if (other != 0) revert ILedger.ContentInUse(a.contentHash, other);
            _assetOfContent[a.contentHash] = asset;
        }

        bytes32 previous;
        for (uint256 i; i < a.devices.length; ++i) {
            bytes32 device = a.devices[i];
            if (device <= previous) revert ILedger.DevicesNotAscending(previous, device);
            if (_assetOfDevice[device] != 0) revert ILedger.DeviceInUse(device, _assetOfDevice[device]);
            _assetOfDevice[device] = asset;
            previous = device;
        }
    }

    /// What a renewal replaces as well.
    function _write(StoredAsset storage stored, ILedger.Appraisal calldata a) private {
        stored.head.expiresAt = a.expiresAt;
        stored.head.level = a.level;
        stored.contentHash = a.contentHash;
        stored.resultHash = a.resultHash;
        stored.meterKeyX = a.meterKeyX;
        stored.meterKeyY = a.meterKeyY;
    }

    function _emitRegistered(uint256 asset, ILedger.Appraisal memory a, string memory uri) private {
        emit ILedger.Registered(
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
    function _check(ILedger.Appraisal calldata a, Signature[] calldata quorum) private view returns (uint256 asset) {
        StoredClass storage c = _classes[_numberOf[a.classId]];
        if (c.count.holdBps == 0) revert ILedger.UnknownClass(a.classId);
        if (a.level < c.minLevel) revert ILedger.LevelTooLow(a.level, c.minLevel);
        if (a.level > MAX_LEVEL) revert ILedger.LevelTooHigh(a.level, MAX_LEVEL);
        if (a.expiresAt <= block.timestamp) revert ILedger.AppraisalExpired(a.expiresAt, block.timestamp);
        if ((c.kind == Kind.COMPUTE) != (a.devices.length != 0)) revert ILedger.DevicesDiffer();
        bool noKey = a.meterKeyX | a.meterKeyY == bytes32(0);
        if (noKey ? c.kind == Kind.COMPUTE : !P256.isValidPublicKey(a.meterKeyX, a.meterKeyY)) {
            revert ILedger.BadMeterKey();
        }
        bytes32 digest = _digest(a);
        _checkQuorum(digest, a.deadline, quorum);

        // 192 bits, so that an asset, a window and a tranche make one id of a credit.
        return uint256(uint192(uint256(digest)));
    }

    /// In two halves: thirteen words at once are more than the stack reaches.
    function _digest(ILedger.Appraisal calldata a) private view returns (bytes32) {
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
