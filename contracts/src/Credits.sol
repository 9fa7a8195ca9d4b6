// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ERC6909} from "@openzeppelin/contracts/token/ERC6909/ERC6909.sol";

import {Uses} from "./Uses.sol";
import {IAccess} from "./interfaces/IAccess.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {Standing} from "./interfaces/Types.sol";

/// @title Credits: seconds of an asset in a window, opened, granted, bought and sent on
/// @notice The part of Access that knows what was paid, and no leases.
abstract contract Credits is Uses, ERC6909 {
    using SafeERC20 for IERC20;

    struct Tranche {
        uint128 price;
        bool isOpen;
    }

    mapping(uint256 id => Tranche) private _tranches;
    /// Kept from the first opening on: the ledger never changes it, and reading it there costs many slots.
    mapping(uint256 asset => bytes32) private _classOf;
    mapping(uint256 asset => mapping(uint32 window => uint256)) private _issued;

    /// @inheritdoc IAccess
    function open(uint256 asset, uint32 window, uint32 tranche, uint128 price) external returns (uint256 id) {
        ILedger.Asset memory stored = _operated(asset);
        _checkLive(asset);
        _checkWindow(window);
        id = creditId(asset, window, tranche);
        if (_tranches[id].isOpen) revert AlreadyOpen(id);

        _tranches[id] = Tranche(price, true);
        _classOf[asset] = stored.classId;

        emit Opened(id, asset, window, tranche, price);
    }

    /// @inheritdoc IAccess
    function grant(uint256 id, address to, uint64 amount) external {
        _operated(_assetIn(id));
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
    function refundCredits(uint256 id, address holder) external returns (uint256 amount) {
        uint32 window = _windowIn(id);
        if (block.timestamp < _endOf(window)) revert WindowNotOver(window, _endOf(window), block.timestamp);
        uint256 credits = balanceOf(holder, id);
        amount = credits * _tranches[id].price;
        if (amount == 0) revert NothingToRefund();

        _burn(holder, id, credits);

        emit CreditsRefunded(id, holder, credits, amount);

        IERC20(token).safeTransfer(_inPlaceOf(holder), amount);
    }

    /// @inheritdoc IAccess
    function creditId(uint256 asset, uint32 window, uint32 tranche) public pure returns (uint256) {
        return asset << 64 | uint256(window) << 32 | tranche;
    }

    /// @inheritdoc IAccess
    function priceOf(uint256 id) public view returns (bool isOpen, uint128 price) {
        return (_tranches[id].isOpen, _tranches[id].price);
    }

    /// @inheritdoc IAccess
    function issued(uint256 asset, uint32 window) external view returns (uint256) {
        return _issued[asset][window];
    }

    /// @inheritdoc IAccess
    function capacity(uint256 asset) public view returns (uint256) {
        return uint256(_assetOf(asset).units) * windowSeconds / UNIT;
    }

    /// Every movement of credits comes through here, but what `_recoverCredits` moves inside a group.
    function _update(address from, address to, uint256 id, uint256 amount) internal override {
        // Balances first: past this line `amount` exists or is a uint64, so no sum below overflows.
        super._update(from, to, id, amount);
        // Redeemed: no longer held, still acquired. Or paid back, when the window counts no more.
        if (to == address(0)) return;

        (address fromRoot, address toRoot, Standing standing) = IMembers(members).rootsOf(from, to);
        if (standing == Standing.INACTIVE) revert NotActiveMember(to);
        if (standing == Standing.REFUSING && msg.sender != to && fromRoot != toRoot) revert RefusesGifts(to);
        if (from == address(0)) _countIssued(_assetIn(id), _windowIn(id), amount);

        if (_count(from, to, id, amount) && fromRoot != toRoot) {
            _checkAcquired(_classIn(id), _windowIn(id), toRoot);
        }
    }

    /// What a replaced member holds is its successor's, whatever that one may receive, and over any limit.
    function _recoverCredits(address member, address successor, uint256 id) internal {
        uint256 amount = balanceOf(member, id);
        if (amount == 0) return; // recovered before

        super._update(member, successor, id, amount);
        _count(member, successor, id, amount);
    }

    /// Who is paid in the place of `account`: itself, or who has replaced it.
    function _inPlaceOf(address account) internal view returns (address) {
        for (address successor; (successor = IMembers(members).successorOf(account)) != address(0);) {
            account = successor;
        }
        return account;
    }

    /// A key that was lost does nothing, also before what it had is recovered.
    function _checkNotReplaced(address account) internal view {
        address successor = IMembers(members).successorOf(account);
        if (successor != address(0)) revert IMembers.Replaced(account, successor);
    }

    function _checkLive(uint256 asset) internal view {
        if (!ILedger(ledger).isLive(asset)) revert AssetNotLive(asset);
    }

    function _assetOf(uint256 asset) internal view returns (ILedger.Asset memory) {
        return ILedger(ledger).assetOf(asset);
    }

    function _classIn(uint256 id) internal view returns (bytes32) {
        return _classOf[_assetIn(id)];
    }

    function _assetIn(uint256 id) internal pure returns (uint256) {
        return id >> 64;
    }

    function _windowIn(uint256 id) internal pure returns (uint32) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint32(id >> 32); // what is above is the asset
    }

    /// The asset, whose operator is the sender.
    function _operated(uint256 asset) private view returns (ILedger.Asset memory stored) {
        stored = _assetOf(asset);
        if (msg.sender != stored.operator) revert NotOperator(msg.sender, asset);
        _checkNotReplaced(msg.sender);
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

    /// False where nothing counts: a window that has ended, whose totals no join moves either.
    function _count(address from, address to, uint256 id, uint256 amount) private returns (bool counted) {
        uint32 window = _windowIn(id);
        if (amount == 0 || window < currentWindow()) return false;

        _moveAcquired(_classIn(id), window, from, to, amount);
        return true;
    }

    function _countIssued(uint256 asset, uint32 window, uint256 amount) private {
        uint256 total = _issued[asset][window] + amount;
        uint256 most = capacity(asset);
        if (total > most) revert Oversold(asset, window, total, most);

        _issued[asset][window] = total;
    }

    function _priceNow(uint256 id, uint64 amount) private view returns (uint128) {
        if (!_tranches[id].isOpen) revert NotOpen(id);
        if (amount == 0) revert NoAmount();
        _checkWindow(_windowIn(id));
        _checkLive(_assetIn(id));
        return _tranches[id].price;
    }
}
