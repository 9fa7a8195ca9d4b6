// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ERC6909} from "@openzeppelin/contracts/token/ERC6909/ERC6909.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IAccess} from "./interfaces/IAccess.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {ZeroAddress} from "./interfaces/Types.sol";

contract Access is IAccess, ERC6909, EIP712 {
    using SafeCast for uint256;
    using SafeERC20 for IERC20;

    struct Tranche {
        uint128 price;
        bool isOpen;
    }

    /// Seconds of one group in one class and window; both in the slot that `merge` moves.
    struct Use {
        uint128 acquired;
        uint128 redeemed;
    }

    bytes32 private constant REDEMPTION = keccak256(
        "Redemption(address holder,uint256 id,uint64 amount,bytes32 keyX,bytes32 keyY,uint256 nonce,uint48 deadline)"
    );
    uint256 private constant UNIT = 1e6; // one unit in the ledger's decimals
    uint256 private constant BPS = 10_000;
    uint256 private constant MAX_WINDOW = 1e6; // seconds; at most, credits of a window stay below 2^63 as units do
    // Pairs of class and window that one merge visits; at 27,400 gas each it stays at half of what EIP-7825 lets a
    // transaction use, so that a group cannot escape being joined to another by acquiring everywhere.
    uint256 private constant MAX_MERGED = 256;

    /// @inheritdoc IAccess
    uint32 public immutable windowSeconds;
    /// @inheritdoc IAccess
    uint32 public immutable horizon;
    /// @inheritdoc IAccess
    address public immutable token;
    /// @inheritdoc IAccess
    address public immutable members;
    /// @inheritdoc IAccess
    address public immutable ledger;
    /// @inheritdoc IAccess
    address public immutable meter;

    mapping(uint256 id => Tranche) private _tranches;
    /// Kept from the first opening on: the ledger never changes it, and reading it there costs seven slots.
    mapping(uint256 asset => bytes32) private _classOf;
    mapping(uint256 asset => mapping(uint32 window => uint256)) private _issued;
    mapping(bytes32 classId => mapping(uint32 window => mapping(address root => Use))) private _use;
    mapping(bytes32 lease => Lease) private _leases;

    constructor(
        uint32 windowSeconds_,
        uint32 horizon_,
        address token_,
        address members_,
        address ledger_,
        address meter_
    ) EIP712("Commonhold Access", "1") {
        if (token_ == address(0) || members_ == address(0) || ledger_ == address(0) || meter_ == address(0)) {
            revert ZeroAddress();
        }
        uint256 classes = ILedger(ledger_).classIds().length;
        if (windowSeconds_ == 0 || windowSeconds_ > MAX_WINDOW || classes * (uint256(horizon_) + 1) > MAX_MERGED) {
            revert BadWindows(windowSeconds_, horizon_, classes);
        }
        windowSeconds = windowSeconds_;
        horizon = horizon_;
        token = token_;
        members = members_;
        ledger = ledger_;
        meter = meter_;
    }

    /// @inheritdoc IAccess
    function open(uint256 asset, uint32 window, uint32 tranche, uint128 price) external returns (uint256 id) {
        ILedger.Asset memory stored = ILedger(ledger).assetOf(asset);
        if (msg.sender != stored.operator) revert NotOperator(msg.sender, asset);
        _checkWindow(window);
        id = creditId(asset, window, tranche);
        if (_tranches[id].isOpen) revert AlreadyOpen(id);

        _tranches[id] = Tranche(price, true);
        _classOf[asset] = stored.classId;

        emit Opened(id, asset, window, tranche, price);
    }

    /// @inheritdoc IAccess
    function grant(uint256 id, address to, uint64 amount) external {
        uint256 asset = _assetIn(id);
        if (msg.sender != ILedger(ledger).assetOf(asset).operator) revert NotOperator(msg.sender, asset);
        uint128 price = _priceNow(id, amount);
        if (price != 0) revert NotForGrant(id, price);

        _mint(to, id, amount);
    }

    /// @inheritdoc IAccess
    function buy(uint256 id, uint64 amount, uint128 maxPrice) external {
        _buy(id, amount, maxPrice);
    }

    /// @inheritdoc IAccess
    function buyWithPermit(uint256 id, uint64 amount, uint128 maxPrice, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
    {
        uint256 cost = uint256(_tranches[id].price) * amount;
        // Anyone may have sent the permit before us; whether the allowance stands is seen when the payment is taken.
        try IERC20Permit(token).permit(msg.sender, address(this), cost, deadline, v, r, s) {} catch {}
        _buy(id, amount, maxPrice);
    }

    /// @inheritdoc IAccess
    function redeem(Redemption calldata r) external returns (bytes32 lease) {
        if (msg.sender != r.holder) revert NotHolder(msg.sender, r.holder);
        return _redeem(r);
    }

    /// @inheritdoc IAccess
    function redeemFor(Redemption calldata r, bytes calldata signature) external returns (bytes32 lease) {
        if (!SignatureChecker.isValidSignatureNowCalldata(r.holder, leaseId(r), signature)) {
            revert BadHolderSignature(r.holder);
        }
        return _redeem(r);
    }

    /// @inheritdoc IAccess
    function release(bytes32 lease, uint64 gpuMs) external returns (uint256 paid) {
        if (msg.sender != meter) revert OnlyMeter(msg.sender);
        Lease storage stored = _leases[lease];
        if (stored.holder == address(0)) revert UnknownLease(lease);
        uint256 due = uint256(_tranches[stored.id].price) * gpuMs / 1000;
        paid = due - stored.paid;
        if (paid == 0) return 0;

        stored.paid = due.toUint128();
        address operator = ILedger(ledger).assetOf(_assetIn(stored.id)).operator;

        emit Released(lease, operator, paid);

        IERC20(token).safeTransfer(operator, paid);
    }

    /// @inheritdoc IAccess
    function merge(address oldRoot, address newRoot) external {
        if (msg.sender != members) revert OnlyMembers(msg.sender);

        bytes32[] memory classIds = ILedger(ledger).classIds();
        uint32 first = currentWindow();
        for (uint256 i; i < classIds.length; ++i) {
            for (uint32 window = first; window <= first + horizon; ++window) {
                mapping(address root => Use) storage use = _use[classIds[i]][window];
                Use memory joined = use[oldRoot];
                if (joined.acquired == 0) continue; // and so is what was redeemed

                delete use[oldRoot];
                use[newRoot].acquired += joined.acquired;
                use[newRoot].redeemed += joined.redeemed;
            }
        }
    }

    /// @inheritdoc IAccess
    function leaseOf(bytes32 lease) external view returns (Lease memory) {
        return _leases[lease];
    }

    /// @inheritdoc IAccess
    function leaseId(Redemption calldata r) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(REDEMPTION, r)));
    }

    /// @inheritdoc IAccess
    function creditId(uint256 asset, uint32 window, uint32 tranche) public pure returns (uint256) {
        return asset << 64 | uint256(window) << 32 | tranche;
    }

    /// @inheritdoc IAccess
    function priceOf(uint256 id) external view returns (bool isOpen, uint128 price) {
        return (_tranches[id].isOpen, _tranches[id].price);
    }

    /// @inheritdoc IAccess
    function issued(uint256 asset, uint32 window) external view returns (uint256) {
        return _issued[asset][window];
    }

    /// @inheritdoc IAccess
    function capacity(uint256 asset) public view returns (uint256) {
        return uint256(ILedger(ledger).assetOf(asset).units) * windowSeconds / UNIT;
    }

    /// @inheritdoc IAccess
    function acquiredBy(bytes32 classId, uint32 window, address root) external view returns (uint256) {
        return _use[classId][window][root].acquired;
    }

    /// @inheritdoc IAccess
    function redeemedBy(bytes32 classId, uint32 window, address root) external view returns (uint256) {
        return _use[classId][window][root].redeemed;
    }

    /// @inheritdoc IAccess
    function useHeadroom(bytes32 classId, uint32 window, address account) external view returns (uint256) {
        if (window < currentWindow() || ILedger(ledger).isOver(classId, account)) return 0;
        address root = IMembers(members).rootOf(account);
        return Math.saturatingSub(_most(classId), _use[classId][window][root].acquired);
    }

    /// @inheritdoc IAccess
    function currentWindow() public view returns (uint32) {
        return uint32(block.timestamp / windowSeconds);
    }

    /// Every movement of credits comes through here.
    function _update(address from, address to, uint256 id, uint256 amount) internal override {
        // Balances first: past this line `amount` exists or is a uint64, so no sum below overflows.
        super._update(from, to, id, amount);
        // Redeemed: no longer held, still acquired.
        if (to == address(0)) return;

        (address fromRoot, address toRoot, bool toActive) = IMembers(members).rootsOf(from, to);
        if (!toActive) revert NotActiveMember(to);
        uint256 asset = _assetIn(id);
        uint32 window = _windowIn(id);
        if (from == address(0)) _countIssued(asset, window, amount);
        // A window that has ended counts no more; nor does `merge` keep its totals.
        if (amount == 0 || fromRoot == toRoot || window < currentWindow()) return;

        bytes32 classId = _classOf[asset];
        if (ILedger(ledger).isOver(classId, toRoot)) revert HoldsOverLimit(classId, toRoot);
        mapping(address root => Use) storage use = _use[classId][window];
        uint256 acquired = use[toRoot].acquired + amount;
        _checkUse(classId, window, toRoot, acquired);

        if (from != address(0)) use[fromRoot].acquired -= amount.toUint128();
        use[toRoot].acquired = acquired.toUint128();
    }

    function _countIssued(uint256 asset, uint32 window, uint256 amount) private {
        uint256 total = _issued[asset][window] + amount;
        uint256 most = capacity(asset);
        if (total > most) revert Oversold(asset, window, total, most);

        _issued[asset][window] = total;
    }

    function _buy(uint256 id, uint64 amount, uint128 maxPrice) private {
        uint128 price = _priceNow(id, amount);
        if (price == 0) revert NotForSale(id);
        if (price > maxPrice) revert PriceAbove(price, maxPrice);
        uint256 cost = uint256(price) * amount;

        _mint(msg.sender, id, amount);

        emit Bought(id, msg.sender, amount, cost);

        IERC20(token).safeTransferFrom(msg.sender, address(this), cost);
    }

    function _priceNow(uint256 id, uint64 amount) private view returns (uint128) {
        if (!_tranches[id].isOpen) revert NotOpen(id);
        if (amount == 0) revert NoAmount();
        _checkWindow(_windowIn(id));
        return _tranches[id].price;
    }

    function _redeem(Redemption calldata r) private returns (bytes32 lease) {
        if (block.timestamp > r.deadline) revert DeadlinePassed(r.deadline, block.timestamp);
        if (r.amount == 0) revert NoAmount();
        if (!_tranches[r.id].isOpen) revert NotOpen(r.id);
        uint32 window = _windowIn(r.id);
        _checkWindow(window);
        if (!P256.isValidPublicKey(r.keyX, r.keyY)) revert BadSessionKey();
        if (!IMembers(members).isActive(r.holder)) revert NotActiveMember(r.holder);
        if (!ILedger(ledger).isLive(_assetIn(r.id))) revert AssetNotLive(_assetIn(r.id));
        lease = leaseId(r);
        if (_leases[lease].holder != address(0)) revert LeaseExists(lease);

        _countRedeemed(r, window);
        uint48 startsAt = uint48(Math.max(block.timestamp, uint256(window) * windowSeconds));
        _leases[lease] = Lease(r.holder, r.id, r.amount, startsAt, 0, r.keyX, r.keyY);
        _burn(r.holder, r.id, r.amount);

        emit Redeemed(lease, r.holder, r.id, r.amount, startsAt, r.keyX, r.keyY);
    }

    /// After a merge a group may hold credits above its limit: it cannot use them, only give them away.
    function _countRedeemed(Redemption calldata r, uint32 window) private {
        bytes32 classId = _classOf[_assetIn(r.id)];
        address root = IMembers(members).rootOf(r.holder);
        uint256 redeemed = uint256(_use[classId][window][root].redeemed) + r.amount;
        _checkUse(classId, window, root, redeemed);

        _use[classId][window][root].redeemed = redeemed.toUint128();
    }

    function _checkUse(bytes32 classId, uint32 window, address root, uint256 used) private view {
        uint256 most = _most(classId);
        if (used > most) revert OverUseLimit(classId, window, root, used, most);
    }

    /// Present or future, no further than the horizon: `merge` visits no other window.
    function _checkWindow(uint32 window) private view {
        uint32 first = currentWindow();
        if (window < first || window > first + horizon) revert WindowNotOpen(window, first, first + horizon);
    }

    /// The most seconds that one group may acquire: `used <= most` is
    /// `used * UNIT * BPS <= capBase * windowSeconds * useBps`.
    function _most(bytes32 classId) private view returns (uint256) {
        uint256 useBps = ILedger(ledger).classOf(classId).useBps;
        return ILedger(ledger).capBase(classId) * windowSeconds * useBps / (UNIT * BPS);
    }

    function _assetIn(uint256 id) private pure returns (uint256) {
        return id >> 64;
    }

    function _windowIn(uint256 id) private pure returns (uint32) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint32(id >> 32); // what is above is the asset
    }
}
