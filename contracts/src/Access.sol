// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Credits} from "./Credits.sol";
import {Uses} from "./Uses.sol";
import {IAccess} from "./interfaces/IAccess.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {System} from "./interfaces/Types.sol";

contract Access is Credits, EIP712 {
    using SafeERC20 for IERC20;

    bytes32 private constant REDEMPTION = keccak256(
        "Redemption(address holder,uint256 id,uint64 amount,bytes32 keyX,bytes32 keyY,uint256 nonce,uint48 deadline)"
    );
    bytes32 private constant SPLIT =
        keccak256("Split(bytes32 lease,uint64 amount,bytes32 keyX,bytes32 keyY,uint16 change,uint48 deadline)");
    bytes32 private constant TOP_UP = keccak256("TopUp(bytes32 lease,uint64 amount,uint16 change,uint48 deadline)");
    bytes32 private constant ROTATION =
        keccak256("Rotation(bytes32 lease,bytes32 keyX,bytes32 keyY,uint16 change,uint48 deadline)");
    // How long a provider may take to learn that a lease has another key or fewer seconds: what it may have delivered by
    // then stays payable. Longer than any access token lives.
    uint48 private constant NOTICE = 1 hours;
    // Not less than the notice, so that what an old key proves can still be settled; not so long that money is stuck.
    uint48 private constant MIN_SETTLE_DELAY = 1 hours;
    uint48 private constant MAX_SETTLE_DELAY = 30 days;

    /// @inheritdoc IAccess
    uint48 public immutable settleDelay;

    mapping(bytes32 lease => Lease) private _leases;
    mapping(bytes32 lease => mapping(uint16 number => SessionKey)) private _formerKeys;

    constructor(uint32 windowSeconds_, uint32 horizon_, uint48 settleDelay_, System memory system)
        Uses(windowSeconds_, horizon_, system)
        EIP712("Commonhold Access", "1")
    {
        if (settleDelay_ < MIN_SETTLE_DELAY || settleDelay_ > MAX_SETTLE_DELAY) {
            revert BadSettleDelay(settleDelay_, MIN_SETTLE_DELAY, MAX_SETTLE_DELAY);
        }
        settleDelay = settleDelay_;
    }

    /// @inheritdoc IAccess
    function redeem(Redemption calldata r) external returns (bytes32 lease) {
        if (msg.sender != r.holder) revert NotHolder(msg.sender, r.holder);
        return _redeem(r);
    }

    /// @inheritdoc IAccess
    function redeemFor(Redemption calldata r, bytes calldata signature) external returns (bytes32 lease) {
        _checkSigned(r.holder, leaseId(r), signature);
        return _redeem(r);
    }

    /// @inheritdoc IAccess
    function split(Split calldata s, bytes calldata signature) external returns (bytes32 part) {
        part = partId(s);
        Lease storage stored = _changed(s.lease, s.change, s.deadline, part, signature);
        if (s.amount == 0) revert NoAmount();
        _checkWindow(_windowIn(stored.id));
        _checkKey(s.keyX, s.keyY);
        uint256 most = _splittable(stored);
        if (s.amount > most) revert SplitTooLarge(s.lease, s.amount, most);

        stored.amount -= s.amount;
        Lease memory made = stored;
        made.amount = s.amount;
        (made.changes, made.keyNumber, made.gpuMs) = (0, 0, 0);
        (made.keyX, made.keyY) = (s.keyX, s.keyY);
        made.startsAt = uint48(Math.max(block.timestamp, made.startsAt));
        _leases[part] = made;

        emit LeaseSplit(s.lease, part, s.amount, made.startsAt, s.keyX, s.keyY);
    }

    /// @inheritdoc IAccess
    function topUp(TopUp calldata t, bytes calldata signature) external {
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(TOP_UP, t)));
        Lease storage stored = _changed(t.lease, t.change, t.deadline, digest, signature);
        (address holder, uint256 id) = (stored.holder, stored.id);
        _checkRedeemable(holder, id, t.amount);

        stored.amount += t.amount;
        _spend(holder, id, t.amount);

        emit ToppedUp(t.lease, t.amount);
    }

    /// @inheritdoc IAccess
    function rotate(Rotation calldata r, bytes calldata signature) external {
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(ROTATION, r)));
        Lease storage stored = _changed(r.lease, r.change, r.deadline, digest, signature);
        uint16 number = stored.keyNumber;
        // Else a chain of rotations would leave the key that was served with no time to prove it.
        uint48 last = number == 0 ? 0 : _formerKeys[r.lease][number - 1].until;
        if (block.timestamp <= last) revert RotatedLately(r.lease, last, block.timestamp);
        _checkKey(r.keyX, r.keyY);

        uint48 until = uint48(block.timestamp) + NOTICE;
        _formerKeys[r.lease][number] = SessionKey(stored.keyX, stored.keyY, until);
        stored.keyNumber = number + 1;
        (stored.keyX, stored.keyY) = (r.keyX, r.keyY);

        emit KeyRotated(r.lease, number + 1, r.keyX, r.keyY, until);
    }

    /// @inheritdoc IAccess
    function refund(bytes32 lease) external returns (uint256 amount) {
        Lease storage stored = _known(lease);
        uint256 until = settleableUntil(lease);
        if (block.timestamp <= until) revert NotYetRefundable(lease, until + 1, block.timestamp);
        amount = uint256(stored.price) * stored.amount - _due(stored.price, stored.gpuMs);
        if (stored.refunded || amount == 0) revert NothingToRefund();

        stored.refunded = true;
        address to = _inPlaceOf(stored.holder);

        emit Refunded(lease, to, amount);

        IERC20(token).safeTransfer(to, amount);
    }

    /// @inheritdoc IAccess
    function recover(address member, uint256[] calldata ids, bytes32[] calldata leases) external {
        address successor = IMembers(members).successorOf(member);
        if (successor == address(0)) revert NotReplaced(member);

        for (uint256 i; i < ids.length; ++i) {
            _recoverCredits(member, successor, ids[i]);
        }
        for (uint256 i; i < leases.length; ++i) {
            Lease storage stored = _leases[leases[i]];
            if (stored.holder != member) continue; // another's, or recovered before

            stored.holder = successor;
            uint32 window = _windowIn(stored.id);
            if (window >= currentWindow()) _recoverRedeemed(_classIn(stored.id), window, member, stored.amount);

            emit LeaseRecovered(leases[i], member, successor);
        }
    }

    /// @inheritdoc IAccess
    function deliver(bytes32 lease, uint64 gpuMs) external returns (uint256 paid) {
        if (msg.sender != meter) revert OnlyMeter(msg.sender);
        Lease storage stored = _known(lease);
        (uint128 price, uint64 before) = (stored.price, stored.gpuMs);

        stored.gpuMs = gpuMs;
        // Rounded down over the whole lease, not at each receipt.
        return _due(price, gpuMs) - _due(price, before);
    }

    /// @inheritdoc IAccess
    function pay(address to, uint256 amount) external {
        if (msg.sender != ledger) revert OnlyLedger(msg.sender);

        IERC20(token).safeTransfer(to, amount);
    }

    /// @inheritdoc IAccess
    function leaseOf(bytes32 lease) external view returns (Lease memory) {
        return _leases[lease];
    }

    /// @inheritdoc IAccess
    function keyOf(bytes32 lease, uint16 number) external view returns (SessionKey memory) {
        Lease storage stored = _known(lease);
        if (number > stored.keyNumber) revert UnknownKey(lease, number);
        return number == stored.keyNumber ? SessionKey(stored.keyX, stored.keyY, 0) : _formerKeys[lease][number];
    }

    /// @inheritdoc IAccess
    function settleableUntil(bytes32 lease) public view returns (uint256) {
        return _endOf(_windowIn(_known(lease).id)) + settleDelay;
    }

    /// @inheritdoc IAccess
    function leaseId(Redemption calldata r) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(REDEMPTION, r)));
    }

    /// @inheritdoc IAccess
    function partId(Split calldata s) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(SPLIT, s)));
    }

    function _redeem(Redemption calldata r) private returns (bytes32 lease) {
        if (block.timestamp > r.deadline) revert DeadlinePassed(r.deadline, block.timestamp);
        _checkRedeemable(r.holder, r.id, r.amount);
        _checkKey(r.keyX, r.keyY);
        lease = leaseId(r);
        if (_leases[lease].holder != address(0)) revert LeaseExists(lease);

        Lease memory made;
        made.holder = r.holder;
        made.startsAt = uint48(Math.max(block.timestamp, uint256(_windowIn(r.id)) * windowSeconds));
        made.level = _assetOf(_assetIn(r.id)).level;
        made.id = r.id;
        made.amount = r.amount;
        (, made.price) = priceOf(r.id);
        (made.keyX, made.keyY) = (r.keyX, r.keyY);
        _leases[lease] = made;
        _spend(r.holder, r.id, r.amount);

        emit Redeemed(lease, r.holder, r.id, r.amount, made.startsAt, made.level, r.keyX, r.keyY);
    }

    function _spend(address holder, uint256 id, uint64 amount) private {
        _burn(holder, id, amount); // first: past this line the seconds exist, so no sum overflows
        _countRedeemed(_classIn(id), _windowIn(id), holder, amount);
    }

    /// Checks what every change of a lease asks, and counts it. The holder sends it itself, or has signed `digest`.
    function _changed(bytes32 lease, uint16 change, uint48 deadline, bytes32 digest, bytes calldata signature)
        private
        returns (Lease storage stored)
    {
        if (block.timestamp > deadline) revert DeadlinePassed(deadline, block.timestamp);
        stored = _known(lease);
        address holder = stored.holder;
        _checkNotReplaced(holder);
        if (msg.sender != holder) _checkSigned(holder, digest, signature);
        if (change != stored.changes) revert WrongChange(lease, change, stored.changes);

        ++stored.changes;
    }

    function _known(bytes32 lease) private view returns (Lease storage stored) {
        stored = _leases[lease];
        if (stored.holder == address(0)) revert UnknownLease(lease);
    }

    function _checkRedeemable(address holder, uint256 id, uint64 amount) private view {
        if (amount == 0) revert NoAmount();
        (bool isOpen,) = priceOf(id);
        if (!isOpen) revert NotOpen(id);
        _checkWindow(_windowIn(id));
        if (!IMembers(members).isActive(holder)) revert NotActiveMember(holder);
        _checkLive(_assetIn(id));
    }

    /// The seconds that nobody can have delivered yet, nor can by the end of the notice.
    function _splittable(Lease storage stored) private view returns (uint256) {
        uint256 until = Math.min(block.timestamp + NOTICE, _endOf(_windowIn(stored.id)));
        uint256 span = Math.saturatingSub(until, stored.startsAt);
        uint256 units = _assetOf(_assetIn(stored.id)).units;
        // Rounded up: the last second may have begun.
        return Math.saturatingSub(stored.amount, Math.ceilDiv(units * span, UNIT));
    }

    function _checkSigned(address holder, bytes32 digest, bytes calldata signature) private view {
        if (!SignatureChecker.isValidSignatureNowCalldata(holder, digest, signature)) {
            revert BadHolderSignature(holder);
        }
    }

    function _checkKey(bytes32 x, bytes32 y) private pure {
        if (!P256.isValidPublicKey(x, y)) revert BadSessionKey();
    }

    /// What `gpuMs` of a lease cost, in total: rounded down.
    function _due(uint128 price, uint64 gpuMs) private pure returns (uint256) {
        return uint256(price) * gpuMs / 1000;
    }
}
