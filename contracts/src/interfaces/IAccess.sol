// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Access: the right to use an asset, second by second
/// @notice ERC-6909: one id per (asset, window, tranche), no decimals; one credit is one second of one unit. A window is
/// `windowSeconds` long and has the index `timestamp / windowSeconds`. A tranche is one price of one asset in one window:
/// price 0 is granted by the operator, any other is bought. id = asset << 64 | window << 32 | tranche.
///
/// What holds by structure:
/// - Credits issued for an asset in a window never exceed units x window seconds, whatever the tranche: no overselling.
/// - Acquired seconds (held + redeemed) of a group in a class and window end every increase with
///   `acquired * 10^10 <= capBase * windowSeconds * useBps`. Redeeming, splitting and recovery do not change them.
/// - Redeemed seconds of a group in a class and window end every redemption within the same limit. A group can have more
///   than its use limit only after a merge or when the limit has shrunk; it redeems no more than what is left of the limit,
///   and gives the rest away.
/// - A group over its holding limit acquires nothing.
/// - A lease is made once: its id is the hash of the statement that the holder signed.
/// - What buyers paid leaves this contract for the holders of the asset, for seconds that the session key has signed for,
///   or goes back to the holder of the credit or lease: never to anybody else. A lease can be settled until `settleDelay`
///   after its window, and refunded from then on: no second is both paid and refunded.
/// - The time that a provider may have delivered stays payable: a split takes only seconds that nobody can have delivered
///   yet, nor in the next hour, and a session key that was replaced still proves what was used until an hour later.
/// - The payment tokens held are what is unsettled, refundable or unclaimed, to the smallest unit.
interface IAccess {
    struct Lease {
        address holder;
        /// The first second that can be used: the start of the window or the redemption, whichever is later.
        uint48 startsAt;
        /// The asset's assurance level when the lease was made. Time counts at the lower of it and the level at settlement.
        uint8 level;
        /// How often the lease was changed: statements name it, so that each is used once.
        uint16 changes;
        /// The number of the present session key, from 0.
        uint16 keyNumber;
        bool refunded;
        uint256 id;
        uint64 amount;
        /// Settled, cumulative.
        uint64 gpuMs;
        uint128 price;
        bytes32 keyX;
        bytes32 keyY;
    }

    /// A session key and the last second whose use it proves; `until` is 0 for the present key.
    struct SessionKey {
        bytes32 x;
        bytes32 y;
        uint48 until;
    }

    /// `amount` in credits (seconds). `keyX`, `keyY`: the session key, a P-256 point. `nonce` is any number the holder
    /// has not used with the same values: it tells two equal redemptions apart.
    struct Redemption {
        address holder;
        uint256 id;
        uint64 amount;
        bytes32 keyX;
        bytes32 keyY;
        uint256 nonce;
        uint48 deadline;
    }

    /// `amount` seconds of `lease` become a lease of their own, bound to another session key. `change` is the lease's
    /// `changes`.
    struct Split {
        bytes32 lease;
        uint64 amount;
        bytes32 keyX;
        bytes32 keyY;
        uint16 change;
        uint48 deadline;
    }

    /// `amount` more credits of the same id are redeemed into `lease`.
    struct TopUp {
        bytes32 lease;
        uint64 amount;
        uint16 change;
        uint48 deadline;
    }

    struct Rotation {
        bytes32 lease;
        bytes32 keyX;
        bytes32 keyY;
        uint16 change;
        uint48 deadline;
    }

    event Opened(uint256 indexed id, uint256 indexed asset, uint32 window, uint32 tranche, uint128 price);
    event Bought(uint256 indexed id, address indexed buyer, uint64 amount, uint256 paid);
    event Redeemed(
        bytes32 indexed lease,
        address indexed holder,
        uint256 indexed id,
        uint64 amount,
        uint48 startsAt,
        uint8 level,
        bytes32 keyX,
        bytes32 keyY
    );
    /// `amount` seconds of `lease` are in `part` now, a lease of the same holder and id.
    event LeaseSplit(
        bytes32 indexed lease, bytes32 indexed part, uint64 amount, uint48 startsAt, bytes32 keyX, bytes32 keyY
    );
    event ToppedUp(bytes32 indexed lease, uint64 amount);
    /// `number` is the new key's; the one before proves use until `until`.
    event KeyRotated(bytes32 indexed lease, uint16 number, bytes32 keyX, bytes32 keyY, uint48 until);
    event Refunded(bytes32 indexed lease, address indexed to, uint256 amount);
    event CreditsRefunded(uint256 indexed id, address indexed holder, uint256 credits, uint256 amount);
    event LeaseRecovered(bytes32 indexed lease, address indexed member, address indexed successor);

    error DeadlinePassed(uint48 deadline, uint256 nowS);
    error NotOperator(address sender, uint256 asset);
    error WindowNotOpen(uint32 window, uint32 current, uint32 last);
    error WindowNotOver(uint32 window, uint256 end, uint256 nowS);
    error AlreadyOpen(uint256 id);
    error NotOpen(uint256 id);
    error NotForSale(uint256 id);
    error NotForGrant(uint256 id, uint128 price);
    error PriceAbove(uint128 price, uint128 most);
    error NoAmount();
    error BadSessionKey();
    error BadHolderSignature(address holder);
    error NotHolder(address sender, address holder);
    error LeaseExists(bytes32 lease);
    error UnknownLease(bytes32 lease);
    error AssetNotLive(uint256 asset);
    error NotActiveMember(address account);
    /// The receiver takes only what it asked for.
    error RefusesGifts(address account);
    error HoldsOverLimit(bytes32 classId, address root);
    error Oversold(uint256 asset, uint32 window, uint256 issued, uint256 capacity);
    error OverUseLimit(bytes32 classId, uint32 window, address root, uint256 acquired, uint256 most);
    error OnlyMembers(address sender);
    error OnlyLedger(address sender);
    error OnlyMeter(address sender);
    /// The statement names another state of the lease: it was changed since.
    error WrongChange(bytes32 lease, uint16 got, uint16 expected);
    /// Fewer seconds can be split off: the rest may have been delivered, or may be within the hour.
    error SplitTooLarge(bytes32 lease, uint64 amount, uint256 most);
    error RotatedLately(bytes32 lease, uint48 until, uint256 nowS);
    error UnknownKey(bytes32 lease, uint16 number);
    error NotYetRefundable(bytes32 lease, uint256 from, uint256 nowS);
    error NothingToRefund();
    error NotReplaced(address account);
    /// Constructor only: a window must have 1 to 1,000,000 seconds, and classes x (horizon + 1) stay within what one
    /// transaction can merge.
    error BadWindows(uint32 windowSeconds, uint32 horizon, uint256 classes);
    /// Constructor only.
    error BadSettleDelay(uint48 settleDelay, uint48 min, uint48 max);

    /// @notice Opens a tranche of a present or future window at `price` (payment token's smallest unit per second).
    /// Only the asset's operator, while the asset is live; a price never changes. An operator that was replaced does
    /// nothing (IMembers.Replaced) until `Ledger.recover` has made its successor the operator; the same holds for `grant`.
    function open(uint256 asset, uint32 window, uint32 tranche, uint128 price) external returns (uint256 id);
    /// @notice Mints credits of a tranche of price 0. Only the asset's operator, while the asset is live.
    function grant(uint256 id, address to, uint64 amount) external;
    /// @notice Buys credits at the tranche's price, which must not be above `maxPrice`, while the asset is live; the payment
    /// stays in escrow.
    function buy(uint256 id, uint64 amount, uint128 maxPrice) external;
    /// @notice The same with an ERC-2612 permit for the payment, in one transaction.
    function buyWithPermit(uint256 id, uint64 amount, uint128 maxPrice, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external;
    /// @notice Burns credits of the sender into a lease.
    function redeem(Redemption calldata r) external returns (bytes32 lease);
    /// @notice The same, sent by anyone, with the holder's EIP-712 signature (EOA, ERC-1271, ERC-7702).
    function redeemFor(Redemption calldata r, bytes calldata signature) external returns (bytes32 lease);
    /// @notice Makes a second lease of part of one. By the holder, or by anyone with the holder's signature; the same holds
    /// for `topUp` and `rotate`. `signature` is not looked at when the holder sends it. A holder that was replaced changes
    /// nothing (IMembers.Replaced).
    function split(Split calldata s, bytes calldata signature) external returns (bytes32 part);
    /// @notice Redeems more credits into a lease, under the conditions of `redeem`.
    function topUp(TopUp calldata t, bytes calldata signature) external;
    /// @notice Binds a lease to another session key. Not again before the last key's `until` has passed.
    function rotate(Rotation calldata r, bytes calldata signature) external;

    /// @notice Pays the holder of a lease, or who has replaced it, for the seconds that were not delivered, once, from
    /// `settleDelay` after the window. Anyone may send it.
    function refund(bytes32 lease) external returns (uint256 amount);
    /// @notice Burns what `holder` has of bought credits whose window is over, and pays it, or who has replaced it, for
    /// them. Anyone may send it.
    function refundCredits(uint256 id, address holder) external returns (uint256 amount);
    /// @notice Moves a replaced member's credits of these ids, and its leases, to its successor; passes over what is not, or
    /// no longer, the member's. Anyone may send it.
    function recover(address member, uint256[] calldata ids, bytes32[] calldata leases) external;

    /// @notice Records that `gpuMs` of a lease, in total, were delivered. Returns what is owed for it to the holders of the
    /// asset beyond what was before. Only Meter, which has checked the time and the signatures.
    function deliver(bytes32 lease, uint64 gpuMs) external returns (uint256 paid);
    /// @notice Pays revenue out of the escrow. Only Ledger, which has counted it.
    function pay(address to, uint256 amount) external;
    /// @notice Adds what `oldRoot` acquired in present and future windows to `newRoot`. Only Members.
    function merge(address oldRoot, address newRoot) external;
    /// @notice Takes what `member` acquired in present and future windows out of its former controllers'. Only Members.
    function detach(address member, address[] calldata controllers) external;
    /// @notice `successor` stands above `member`, with the same totals. Only Members.
    function replace(address member, address successor) external;

    function leaseOf(bytes32 lease) external view returns (Lease memory);
    /// @notice A session key of the lease, the present one or one before.
    function keyOf(bytes32 lease, uint16 number) external view returns (SessionKey memory);
    /// @notice The last second at which receipts of the lease can be settled.
    function settleableUntil(bytes32 lease) external view returns (uint256);
    /// @notice The id that `r` would get: its EIP-712 digest.
    function leaseId(Redemption calldata r) external view returns (bytes32);
    /// @notice The id that the new lease of `s` would get: its EIP-712 digest.
    function partId(Split calldata s) external view returns (bytes32);
    function creditId(uint256 asset, uint32 window, uint32 tranche) external pure returns (uint256);
    function priceOf(uint256 id) external view returns (bool isOpen, uint128 price);
    function issued(uint256 asset, uint32 window) external view returns (uint256);
    function capacity(uint256 asset) external view returns (uint256);
    /// @notice Seconds that the account and all that it controls have acquired in the class and window: of a root, what its
    /// group has.
    function acquiredBy(bytes32 classId, uint32 window, address account) external view returns (uint256);
    /// @notice Seconds that they have redeemed. `redeem` refuses with OverUseLimit what would bring a group over the limit.
    function redeemedBy(bytes32 classId, uint32 window, address account) external view returns (uint256);
    /// @notice Seconds that the group of `account` may still acquire.
    function useHeadroom(bytes32 classId, uint32 window, address account) external view returns (uint256);
    function windowSeconds() external view returns (uint32);
    function currentWindow() external view returns (uint32);
    /// @notice How many windows ahead may be opened.
    function horizon() external view returns (uint32);
    /// @notice Seconds after a window in which its leases can be settled.
    function settleDelay() external view returns (uint48);
    function token() external view returns (address);
    function members() external view returns (address);
    function ledger() external view returns (address);
    function meter() external view returns (address);
}
