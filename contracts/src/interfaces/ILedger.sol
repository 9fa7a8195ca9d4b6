// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IQuorum} from "./IQuorum.sol";
import {ISettings} from "./ISettings.sol";
import {Kind, Signature} from "./Types.sol";

/// @title Ledger: who owns which asset, in units
/// @notice ERC-6909 with supply, metadata and content URI: one id per asset, 6 decimals. For COMPUTE 1.000000 is one GPU.
/// The quorum of IQuorum are the appraisers.
///
/// What holds by structure:
/// - Settings are "holdBps", "useBps", "minLevel" and "floorUnits" of each class, and "threshold". Classes are added by the
///   timelock, never taken away.
/// - No operation but `Members.attach` and `Members.find` brings a group over its holding limit, and none but `retire` and
///   a change of a setting lowers the limit below a group: every other increase of a group ends with
///   `held * 10_000 <= max(min(total, total at the start of the block), floor) * holdBps`.
/// - The limit stops increases, never exits: sending, declining, moves inside a group and recoveries are never refused
///   because of it.
/// - What exceeds a limit at registration goes to the commons, the ledger's own balance: it counts in the total, is
///   nobody's and never votes. Any group below its limit may take from it at the registrant's price, which only falls.
/// - A device commitment stands under one asset that is not retired, and so does the content of a DATA or MODEL asset: an
///   appraisal made to renew one asset registers no second one, and one made to register an asset renews no other.
/// - The total of a class stays below 2^63, so that every sum fits 64 bits wherever the events are read.
/// - Totals are kept for every node of the tree of controllers: what an account and all that it controls hold. Joining,
///   leaving and recovery move them in the same transaction as the group changes.
/// - Revenue of an asset belongs to those who hold its units when it accrues, in proportion; a transfer moves none of it.
///   The part of the commons is shared equally among all groups. What accrued and was not claimed is in the escrow of
///   Access, to the wei.
interface ILedger is IQuorum, ISettings {
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
        bool retired;
        uint64 units;
        bytes32 contentHash;
        bytes32 resultHash;
        bytes32 meterKeyX;
        bytes32 meterKeyY;
        /// What 1.000000 of the commons' units costs, in the payment token's smallest unit.
        uint128 commonsPrice;
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
    /// Also at registration, after Registered.
    event CommonsPriced(uint256 indexed asset, uint128 price);
    event Taken(uint256 indexed asset, address indexed buyer, uint64 units, uint256 paid);
    /// The units have left the total of the class; those of a holder's group are counted out by Synced.
    event Retired(uint256 indexed asset, bytes32 indexed classId, uint64 units);
    event Synced(uint256 indexed asset, address indexed holder, uint256 units);
    event Accrued(uint256 indexed asset, uint256 amount);
    event Claimed(uint256 indexed asset, address indexed account, uint256 amount);
    /// The part of the commons in the revenue of an asset was shared among `groups` groups.
    event CommonsShared(uint256 indexed asset, uint256 amount, uint256 groups);
    event CommonsClaimed(address indexed root, uint256 amount);
    /// What a replaced member held of an asset, and its revenue of it, are its successor's, who also operates the asset
    /// where the member did.
    event UnitsRecovered(
        uint256 indexed asset, address indexed member, address indexed successor, uint256 units, uint256 revenue
    );
    /// A join has brought the group of `root` over its limit.
    event OverLimit(bytes32 indexed classId, address indexed root, uint256 held, uint256 most);

    error UnknownClass(bytes32 classId);
    error UnknownAsset(uint256 asset);
    error BadClass(string name);
    error TooManyClasses(uint256 count, uint256 most);
    error NotRegistrant(address sender, address registrant);
    error AssetExists(uint256 asset);
    error LevelTooLow(uint8 level, uint8 minLevel);
    /// There is no such level.
    error LevelTooHigh(uint8 level, uint8 maxLevel);
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
    /// The receiver takes only what it asked for.
    error RefusesGifts(address account);
    /// `held` is what the group of `root` would hold, `most` the largest it may.
    error OverHoldingLimit(bytes32 classId, address root, uint256 held, uint256 most);
    error OnlyMembers(address sender);
    error OnlyMeter(address sender);
    error PriceNotLower(uint128 price, uint128 than);
    error PriceAbove(uint128 price, uint128 most);
    error IsRetired(uint256 asset);
    error NotRetired(uint256 asset);
    error NotLapsed(uint256 asset, uint256 retirableAt, uint256 nowS);
    error NotReplaced(address account);
    error NothingToClaim(address account);
    error NoGroups();
    /// Constructor only: `gracePeriod` is out of bounds.
    error BadGracePeriod(uint48 gracePeriod, uint48 min, uint48 max);

    /// @notice Adds a class. Only the timelock.
    function createClass(ClassParams calldata params) external;

    /// @notice Registers an asset and mints its units. The sender is the registrant, who becomes the operator.
    /// `split` adds up to at most `a.units`; what a share exceeds its owner's headroom by, and what nobody was given, goes
    /// to the commons, from where it costs `commonsPrice` for 1.000000 units.
    function register(
        Appraisal calldata a,
        Signature[] calldata quorum,
        Share[] calldata split,
        uint128 commonsPrice,
        string calldata uri
    ) external returns (uint256 asset);

    /// @notice Replaces the appraisal of a registered asset: same class, registrant, units and devices (DATA, MODEL: same
    /// content), later expiry.
    /// May rotate the meter key. Anyone may send it.
    function renew(uint256 asset, Appraisal calldata a, Signature[] calldata quorum) external;

    /// @notice Lowers the price of the commons' units. Only the asset's operator, and not when it was replaced
    /// (IMembers.Replaced).
    function lowerCommonsPrice(uint256 asset, uint128 price) external;
    /// @notice Takes units out of the commons, for the sender's group, within its limit. The operator is paid
    /// `units * price / 10^6`, rounded up; `maxPrice` bounds the price.
    function take(uint256 asset, uint64 units, uint128 maxPrice) external;
    /// @notice Gives units up, to the commons: the free way back for what was sent unasked. Never refused by a limit.
    function decline(uint256 asset, uint256 units) external;

    /// @notice Takes an asset out of the class total whose appraisal lapsed more than `gracePeriod` ago, and frees its
    /// devices (as they were appraised) and content for another registration. Anyone may send it; it is final.
    function retire(uint256 asset, bytes32[] calldata devices) external;
    /// @notice Takes what the holders have of a retired asset out of what their groups hold. Anyone may send it; who was
    /// synced before is passed over. A transfer of a retired asset does it for both sides.
    function sync(uint256 asset, address[] calldata holders) external;

    /// @notice Counts revenue of an asset for its present holders. Only Meter; the money is in the escrow of Access.
    function accrue(uint256 asset, uint256 amount) external;
    /// @notice Pays `account` its revenue of an asset; where it was replaced, its successor. Anyone may send it.
    function claim(uint256 asset, address account) external returns (uint256 amount);
    /// @notice Shares what the commons has earned with an asset equally among the groups of this moment. What does not
    /// divide waits for the next time. Anyone may send it.
    function shareCommons(uint256 asset) external returns (uint256 amount);
    /// @notice Pays the root of a group, or who was one, its part of what was shared. Anyone may send it.
    function claimCommons(address root) external returns (uint256 amount);

    /// @notice Moves what a replaced member has of these assets to its successor: units, revenue, and the operation of those
    /// that it operates. Anyone may send it.
    function recover(address member, uint256[] calldata assets) external;

    /// @notice Adds the totals of `oldRoot` to `newRoot` in every class; `oldRoot` is a group no more; it may have
    /// exited before. Only Members.
    function merge(address oldRoot, address newRoot) external;
    /// @notice Takes the totals of `member` out of its former controllers' in every class; it is a group. Only Members.
    function detach(address member, address[] calldata controllers) external;
    /// @notice `successor` stands above `member`, with the same totals and in its place among the groups. Only Members.
    function replace(address member, address successor) external;
    /// @notice `root` is a group, and has a part in what is shared from now on; also where it is known as one. Only Members.
    function enter(address root) external;
    /// @notice `root` is no group any more, and keeps what it has earned. Only Members.
    function exit(address root) external;

    function assetOf(uint256 asset) external view returns (Asset memory);
    /// @notice True while the appraisal has not expired and the asset is not retired.
    function isLive(uint256 asset) external view returns (bool);
    function classOf(bytes32 classId) external view returns (Class memory);
    function classIds() external view returns (bytes32[] memory);
    /// @notice The most classes that there will ever be.
    function maxClasses() external view returns (uint256);
    function gracePeriod() external view returns (uint48);
    /// @notice The units that limits are counted against now: max(min(total, total at start of block), floor).
    function capBase(bytes32 classId) external view returns (uint256);
    /// @notice Units that the account and all that it controls hold in the class: of a root, what its group holds.
    function heldBy(bytes32 classId, address account) external view returns (uint256);
    /// @notice Units that the group of `account` may still add; 0 at or over the limit.
    function headroom(bytes32 classId, address account) external view returns (uint256);
    /// @notice True when the group of `account` holds more than the limit (a join, a total or a limit that shrank).
    function isOver(bytes32 classId, address account) external view returns (bool);
    /// @notice The units in the commons.
    function commonsOf(uint256 asset) external view returns (uint256);
    /// @notice False before a holder of a retired asset was synced.
    function isSynced(uint256 asset, address holder) external view returns (bool);

    /// @notice What `claim` would pay now; of the ledger itself, what `shareCommons` would share.
    function revenueOf(uint256 asset, address account) external view returns (uint256);
    /// @notice What `claimCommons` would pay now.
    function commonsRevenueOf(address root) external view returns (uint256);
    /// @notice All that has accrued, and all that was claimed, ever.
    function revenueTotals() external view returns (uint256 accrued, uint256 claimed);

    /// @notice ERC-7943: whether an account may send at all (it was not replaced).
    function canSend(address account) external view returns (bool);
    /// @notice ERC-7943: whether an account may receive at all (an active member that takes gifts).
    function canReceive(address account) external view returns (bool);
    /// @notice ERC-7943: whether a transfer would be accepted now, so that a wallet can ask first.
    function canTransfer(address from, address to, uint256 asset, uint256 units) external view returns (bool);
    /// @notice ERC-7943: nothing is ever frozen; 0.
    function getFrozenTokens(address account, uint256 asset) external view returns (uint256);

    function assetOfDevice(bytes32 device) external view returns (uint256 asset);
    function isAppraiser(address account) external view returns (bool);
    function appraisers() external view returns (address[] memory);
    function members() external view returns (address);
    function access() external view returns (address);
    function meter() external view returns (address);
    function token() external view returns (address);
}
