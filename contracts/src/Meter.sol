// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Wiring} from "./Wiring.sol";
import {IAccess} from "./interfaces/IAccess.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IMeter} from "./interfaces/IMeter.sol";
import {System} from "./interfaces/Types.sol";

contract Meter is IMeter, EIP712 {
    /// What receipts of one asset, one after another in a batch, have in common: read once, and accrued once.
    struct Run {
        uint256 id;
        ILedger.Asset asset;
        uint256 paid;
    }

    bytes32 private constant RECEIPT = keccak256("Receipt(bytes32 lease,uint64 gpuMs,bytes32 head)");

    /// @inheritdoc IMeter
    address public immutable ledger;
    /// @inheritdoc IMeter
    address public immutable access;
    /// @inheritdoc IMeter
    address public immutable members;
    // Of Access, which never changes them.
    uint256 private immutable _windowSeconds;
    uint256 private immutable _settleDelay;

    /// @inheritdoc IMeter
    mapping(bytes32 classId => mapping(uint32 window => mapping(address root => mapping(uint8 level => uint256))))
        public deliveredMs;

    /// @inheritdoc IMeter
    mapping(address submitter => uint64) public nextEpoch;
    /// @inheritdoc IMeter
    mapping(address submitter => bytes32) public lastAnchor;

    constructor(System memory system) EIP712("Commonhold Meter", "1") {
        Wiring.check(system, system.meter);
        ledger = system.ledger;
        access = system.access;
        members = system.members;
        _windowSeconds = IAccess(system.access).windowSeconds();
        _settleDelay = IAccess(system.access).settleDelay();
    }

    /// @inheritdoc IMeter
    function settle(SignedReceipt[] calldata receipts) external {
        Run memory run;
        for (uint256 i; i < receipts.length; ++i) {
            Receipt calldata r = receipts[i].receipt;
            IAccess.Lease memory lease = IAccess(access).leaseOf(r.lease);
            // Somebody settled it, or a later one, before us: nothing is wrong and nothing is left to do.
            if (r.gpuMs <= lease.gpuMs) continue;

            if (lease.holder == address(0)) revert UnknownLease(r.lease);
            uint256 asset = lease.id >> 64;
            if (asset != run.id) {
                _accrue(run);
                run = Run(asset, ILedger(ledger).assetOf(asset), 0);
            }
            _check(i, receipts[i], lease, run.asset);

            run.paid += _settle(r, lease, run.asset);
        }
        _accrue(run);
    }

    /// @inheritdoc IMeter
    function anchor(uint64 epoch, bytes32 root, uint32 count, uint64 gpuMs, string calldata uri) external {
        if (epoch != nextEpoch[msg.sender]) revert EpochNotNext(epoch, nextEpoch[msg.sender]);
        if (root == bytes32(0) || count == 0) revert EmptyAnchor();

        bytes32 previous = lastAnchor[msg.sender];
        nextEpoch[msg.sender] = epoch + 1;
        lastAnchor[msg.sender] = keccak256(abi.encode(previous, epoch, root, count, gpuMs));

        emit Anchored(msg.sender, epoch, root, previous, count, gpuMs, uri);
    }

    /// @inheritdoc IMeter
    function receiptDigest(Receipt calldata r) public view returns (bytes32) {
        return sha256(abi.encodePacked(hex"1901", _domainSeparatorV4(), keccak256(abi.encode(RECEIPT, r))));
    }

    /// @inheritdoc IMeter
    function settledMs(bytes32 lease) external view returns (uint64) {
        return IAccess(access).leaseOf(lease).gpuMs;
    }

    function _settle(Receipt calldata r, IAccess.Lease memory lease, ILedger.Asset memory asset)
        private
        returns (uint256 paid)
    {
        address root = IMembers(members).rootOf(lease.holder);
        uint32 window = _windowOf(lease);
        // An appraisal made since says nothing better of the time before it, and nothing worse is hidden.
        uint8 level = lease.level < asset.level ? lease.level : asset.level;

        deliveredMs[asset.classId][window][root][level] += r.gpuMs - lease.gpuMs;
        paid = IAccess(access).deliver(r.lease, r.gpuMs);

        emit Settled(r.lease, asset.classId, root, window, level, r.gpuMs, r.gpuMs - lease.gpuMs, paid, r.head);
    }

    function _accrue(Run memory run) private {
        if (run.paid != 0) ILedger(ledger).accrue(run.id, run.paid);
    }

    function _check(uint256 index, SignedReceipt calldata s, IAccess.Lease memory lease, ILedger.Asset memory asset)
        private
        view
    {
        (bytes32 keyX, bytes32 keyY, uint256 provesUntil) = (lease.keyX, lease.keyY, type(uint256).max);
        if (s.keyNumber != lease.keyNumber) {
            IAccess.SessionKey memory former = IAccess(access).keyOf(s.receipt.lease, s.keyNumber);
            (keyX, keyY, provesUntil) = (former.x, former.y, former.until);
        }
        _checkTime(s.receipt, lease, asset.units, provesUntil);

        bytes32 digest = receiptDigest(s.receipt);
        // An asset without a meter key has the point (0, 0), which is not on the curve: it never settles.
        if (!P256.verify(digest, s.nodeR, s.nodeS, asset.meterKeyX, asset.meterKeyY)) revert BadNodeSignature(index);
        if (!P256.verify(digest, s.sessionR, s.sessionS, keyX, keyY)) revert BadSessionSignature(index);
    }

    function _checkTime(Receipt calldata r, IAccess.Lease memory lease, uint256 units, uint256 provesUntil)
        private
        view
    {
        uint256 most = uint256(lease.amount) * 1000;
        if (r.gpuMs > most) revert OverLease(r.lease, r.gpuMs, most);

        uint256 end = (uint256(_windowOf(lease)) + 1) * _windowSeconds;
        if (block.timestamp > end + _settleDelay) revert TooLate(r.lease, end + _settleDelay, block.timestamp);
        if (block.timestamp < lease.startsAt) revert NotStarted(r.lease, lease.startsAt, block.timestamp);
        uint256 until = Math.min(Math.min(block.timestamp, end), provesUntil);
        // Seconds x 1,000 ms x units / 1,000,000 units of a GPU. A key replaced before the lease began proves nothing.
        most = Math.saturatingSub(until, lease.startsAt) * units / 1000;
        if (r.gpuMs > most) revert OverWallClock(r.lease, r.gpuMs, most);
    }

    function _windowOf(IAccess.Lease memory lease) private pure returns (uint32) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint32(lease.id >> 32); // what is above is the asset
    }
}
