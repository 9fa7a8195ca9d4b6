// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IQuorum} from "./IQuorum.sol";
import {Kind, Signature} from "./Types.sol";

/// @title Ledger: who owns which asset, in units
/// @notice ERC-6909 with supply, metadata and content URI: one id per asset, 6 decimals. For COMPUTE 1.000000 is one GPU.
///
/// What holds by structure:
/// - Classes, limits, appraisers and their threshold are fixed when the contract is made; no account can change them.
/// - No operation but `Members.attach` and `Members.find` brings a group over its holding limit: every increase of a
///   group ends with `held * 10_000 <= max(min(total, total at the start of the block), floor) * holdBps`.
/// - The limit stops increases, never exits: sending, and moves inside a group, are never refused because of it.
/// - What exceeds a limit at registration goes to the commons, the ledger's own balance: it counts in the total and is
///   nobody's.
/// - A device commitment stands under one asset, and so does the content of a DATA or MODEL asset: an appraisal made to
///   renew one asset registers no second one, and one made to register an asset renews no other.
/// - The total of a class stays below 2^63, so that every sum fits 64 bits wherever the events are read.
interface ILedger is IQuorum {
    struct ClassParams {
        string name;
        Kind kind;
        string unit;
        uint16 holdBps;
        uint16 useBps;
        uint8 minLevel;
        uint64 floorUnits;
    }

    struct Class {
        Kind kind;
        uint16 holdBps;
        uint16 useBps;
        uint8 minLevel;
        uint64 floorUnits;
        uint64 total;
        /// The total when block `startBlock` began; `total` itself in any later block.
        uint64 startTotal;
        uint48 startBlock;
    }

    /// What a quorum of appraisers found and signed. `contentHash`: the manifest of a DATA or MODEL asset, or the
    /// evidence of a COMPUTE one. `resultHash`: the appraisal result with all its checks. `policy` names the policy it
    /// was made under, "development" included. `devices` in strictly ascending order; empty unless COMPUTE.
    /// The meter key is a P-256 point, zero unless COMPUTE or served by a node.
    struct Appraisal {
        bytes32 classId;
        address registrant;
        bytes32 contentHash;
        bytes32 resultHash;
        string policy;
        uint64 units;
        uint8 level;
        bytes32[] devices;
        bytes32 meterKeyX;
        bytes32 meterKeyY;
        uint48 expiresAt;
        uint48 deadline;
    }

    struct Share {
        address owner;
        uint64 units;
    }

    struct Asset {
        bytes32 classId;
        address operator;
        uint48 expiresAt;
        uint8 level;
        uint64 units;
        bytes32 contentHash;
        bytes32 resultHash;
        bytes32 meterKeyX;
        bytes32 meterKeyY;
    }

    event ClassCreated(
        bytes32 indexed classId,
        string name,
        Kind kind,
        string unit,
        uint16 holdBps,
        uint16 useBps,
        uint8 minLevel,
        uint64 floorUnits
    );
    event Registered(
        uint256 indexed asset,
        bytes32 indexed classId,
        address indexed registrant,
        uint64 units,
        uint8 level,
        string policy,
        bytes32 contentHash,
        bytes32 resultHash,
        bytes32[] devices,
        bytes32 meterKeyX,
        bytes32 meterKeyY,
        uint48 expiresAt,
        string uri
    );
    event AppraisalRenewed(
        uint256 indexed asset,
        uint8 level,
        string policy,
        bytes32 contentHash,
        bytes32 resultHash,
        bytes32 meterKeyX,
        bytes32 meterKeyY,
        uint48 expiresAt
    );

    error UnknownClass(bytes32 classId);
    error UnknownAsset(uint256 asset);
    error BadClass(string name);
    error TooManyClasses(uint256 count, uint256 most);
    error NotRegistrant(address sender, address registrant);
    error AssetExists(uint256 asset);
    error LevelTooLow(uint8 level, uint8 minLevel);
    error AppraisalExpired(uint48 expiresAt, uint256 nowS);
    error ExpiryNotLater(uint48 expiresAt, uint48 than);
    /// A renewal names another class than the asset's.
    error ClassDiffers(bytes32 got, bytes32 expected);
    /// A renewal of a DATA or MODEL asset names another content.
    error ContentDiffers(bytes32 got, bytes32 expected);
    /// A DATA or MODEL asset with this content is registered.
    error ContentInUse(bytes32 contentHash, uint256 asset);
    error UnitsDiffer(uint256 got, uint256 expected);
    error NoUnits();
    error BadMeterKey();
    error DevicesDiffer();
    error DevicesNotAscending(bytes32 previous, bytes32 device);
    error DeviceInUse(bytes32 device, uint256 asset);
    error TotalTooLarge(bytes32 classId, uint256 total);
    error NotActiveMember(address account);
    /// `held` is what the group of `root` would hold, `most` the largest it may.
    error OverHoldingLimit(bytes32 classId, address root, uint256 held, uint256 most);
    error OnlyMembers(address sender);

    /// @notice Registers an asset and mints its units. The sender is the registrant, who becomes the operator.
    /// `split` adds up to `a.units`; what a share exceeds its owner's headroom by goes to the commons.
    function register(Appraisal calldata a, Signature[] calldata quorum, Share[] calldata split, string calldata uri)
        external
        returns (uint256 asset);

    /// @notice Replaces the appraisal of a registered asset: same class, registrant, units and devices (DATA, MODEL: same
    /// content), later expiry.
    /// May rotate the meter key. Anyone may send it.
    function renew(uint256 asset, Appraisal calldata a, Signature[] calldata quorum) external;

    /// @notice Moves the group totals of `oldRoot` to `newRoot` in every class. Only Members.
    function merge(address oldRoot, address newRoot) external;

    function assetOf(uint256 asset) external view returns (Asset memory);
    /// @notice True while the appraisal has not expired.
    function isLive(uint256 asset) external view returns (bool);
    function classOf(bytes32 classId) external view returns (Class memory);
    function classIds() external view returns (bytes32[] memory);
    /// @notice The units that limits are counted against now: max(min(total, total at start of block), floor).
    function capBase(bytes32 classId) external view returns (uint256);
    /// @notice Units that the group of `root` holds in the class.
    function heldBy(bytes32 classId, address root) external view returns (uint256);
    /// @notice Units that the group of `account` may still add; 0 at or over the limit.
    function headroom(bytes32 classId, address account) external view returns (uint256);
    /// @notice True when the group of `account` holds more than the limit (a merge, a total that shrank).
    function isOver(bytes32 classId, address account) external view returns (bool);
    /// @notice Whether a transfer would be accepted now. The view of ERC-7943, so that a wallet can ask first.
    function canTransfer(address from, address to, uint256 asset, uint256 units) external view returns (bool);
    function assetOfDevice(bytes32 device) external view returns (uint256 asset);
    function isAppraiser(address account) external view returns (bool);
    function appraisers() external view returns (address[] memory);
    function threshold() external view returns (uint256);
    function members() external view returns (address);
}
