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
///   `acquired * 10^10 <= capBase * windowSeconds * useBps`. Redeeming does not change them.
/// - Redeemed seconds of a group in a class and window end every redemption within the same limit. A group can have more
///   than its use limit only after a merge; it redeems no more than what is left of the limit, and gives the rest away.
/// - A group over its holding limit acquires nothing.
/// - A lease is redeemed once: its id is the hash of the statement that the holder signed.
/// - What buyers paid leaves this contract only for seconds that the lease's session key has signed for.
interface IAccess {
    struct Lease {
        address holder;
        uint256 id;
        uint64 amount;
        /// The first second that can be used: the start of the window or the redemption, whichever is later.
        uint48 startsAt;
        uint128 paid;
        bytes32 keyX;
        bytes32 keyY;
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

    event Opened(uint256 indexed id, uint256 indexed asset, uint32 window, uint32 tranche, uint128 price);
    event Bought(uint256 indexed id, address indexed buyer, uint64 amount, uint256 paid);
    event Redeemed(
        bytes32 indexed lease,
        address indexed holder,
        uint256 indexed id,
        uint64 amount,
        uint48 startsAt,
        bytes32 keyX,
        bytes32 keyY
    );
    event Released(bytes32 indexed lease, address indexed to, uint256 amount);

    error DeadlinePassed(uint48 deadline, uint256 nowS);
    error NotOperator(address sender, uint256 asset);
    error WindowNotOpen(uint32 window, uint32 current, uint32 last);
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
    error HoldsOverLimit(bytes32 classId, address root);
    error Oversold(uint256 asset, uint32 window, uint256 issued, uint256 capacity);
    error OverUseLimit(bytes32 classId, uint32 window, address root, uint256 acquired, uint256 most);
    error OnlyMembers(address sender);
    /// Constructor only: a window must have 1 to 1,000,000 seconds, and classes x (horizon + 1) stay within what one
    /// transaction can merge.
    error BadWindows(uint32 windowSeconds, uint32 horizon, uint256 classes);
    error OnlyMeter(address sender);

    /// @notice Opens a tranche of a present or future window at `price` (payment token's smallest unit per second).
    /// Only the asset's operator; a price never changes.
    function open(uint256 asset, uint32 window, uint32 tranche, uint128 price) external returns (uint256 id);
    /// @notice Mints credits of a tranche of price 0. Only the asset's operator.
    function grant(uint256 id, address to, uint64 amount) external;
    /// @notice Buys credits at the tranche's price, which must not be above `maxPrice`; the payment stays in escrow.
    function buy(uint256 id, uint64 amount, uint128 maxPrice) external;
    /// @notice The same with an ERC-2612 permit for the payment, in one transaction.
    function buyWithPermit(uint256 id, uint64 amount, uint128 maxPrice, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external;
    /// @notice Burns credits of the sender into a lease.
    function redeem(Redemption calldata r) external returns (bytes32 lease);
    /// @notice The same, sent by anyone, with the holder's EIP-712 signature (EOA, ERC-1271, ERC-7702).
    function redeemFor(Redemption calldata r, bytes calldata signature) external returns (bytes32 lease);
    /// @notice Pays the asset's operator for `gpuMs` of a lease in total, less what was paid before. Only Meter.
    function release(bytes32 lease, uint64 gpuMs) external returns (uint256 paid);
    /// @notice Moves what `oldRoot` acquired in present and future windows to `newRoot`. Only Members.
    function merge(address oldRoot, address newRoot) external;

    function leaseOf(bytes32 lease) external view returns (Lease memory);
    /// @notice The id that `r` would get: its EIP-712 digest.
    function leaseId(Redemption calldata r) external view returns (bytes32);
    function creditId(uint256 asset, uint32 window, uint32 tranche) external pure returns (uint256);
    function priceOf(uint256 id) external view returns (bool isOpen, uint128 price);
    function issued(uint256 asset, uint32 window) external view returns (uint256);
    function capacity(uint256 asset) external view returns (uint256);
    /// @notice Seconds that the group of `root` has acquired in the class and window.
    function acquiredBy(bytes32 classId, uint32 window, address root) external view returns (uint256);
    /// @notice Seconds that the group of `root` has redeemed in the class and window; moved by `merge` like the acquired.
    /// `redeem` refuses with OverUseLimit what would bring them over the limit.
    function redeemedBy(bytes32 classId, uint32 window, address root) external view returns (uint256);
    /// @notice Seconds that the group of `account` may still acquire.
    function useHeadroom(bytes32 classId, uint32 window, address account) external view returns (uint256);
    function windowSeconds() external view returns (uint32);
    function currentWindow() external view returns (uint32);
    /// @notice How many windows ahead may be opened.
    function horizon() external view returns (uint32);
    function token() external view returns (address);
    function members() external view returns (address);
    function ledger() external view returns (address);
    function meter() external view returns (address);
}
