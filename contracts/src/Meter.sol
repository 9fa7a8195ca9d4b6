// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";

import {IAccess} from "./interfaces/IAccess.sol";
import {ILedger} from "./interfaces/ILedger.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IMeter} from "./interfaces/IMeter.sol";
import {ZeroAddress} from "./interfaces/Types.sol";

contract Meter is IMeter, EIP712, ReentrancyGuardTransient {
    bytes32 private constant RECEIPT = keccak256("Receipt(bytes32 lease,uint64 gpuMs,bytes32 head)");

    /// @inheritdoc IMeter
    address public immutable ledger;
    /// @inheritdoc IMeter
    address public immutable access;
    /// @inheritdoc IMeter
    address public immutable members;

    /// @inheritdoc IMeter
    mapping(bytes32 lease => uint64) public settledMs;
    /// @inheritdoc IMeter
    mapping(bytes32 classId => mapping(uint32 window => mapping(address root => mapping(uint8 level => uint256))))
        public deliveredMs;

    /// @inheritdoc IMeter
    mapping(address submitter => uint64) public nextEpoch;
    /// @inheritdoc IMeter
    mapping(address submitter => bytes32) public lastAnchor;

    constructor(address ledger_, address access_, address members_) EIP712("Commonhold Meter", "1") {
        if (ledger_ == address(0) || access_ == address(0) || members_ == address(0)) revert ZeroAddress();
        ledger = ledger_;
        access = access_;
        members = members_;
    }

    /// @inheritdoc IMeter
    function settle(SignedReceipt[] calldata receipts) external nonReentrant {
        for (uint256 i; i < receipts.length; ++i) {
            Receipt calldata r = receipts[i].receipt;
            // Somebody settled it, or a later one, before us: nothing is wrong and nothing is left to do.
            if (r.gpuMs <= settledMs[r.lease]) continue;

            IAccess.Lease memory lease = IAccess(access).leaseOf(r.lease);
            if (lease.holder == address(0)) revert UnknownLease(r.lease);
            ILedger.Asset memory asset = ILedger(ledger).assetOf(lease.id >> 64);
            _checkTime(r, lease, asset.units);
            _checkSignatures(i, receipts[i], lease, asset);

            _settle(r, lease, asset);
        }
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

    function _settle(Receipt calldata r, IAccess.Lease memory lease, ILedger.Asset memory asset) private {
        address root = IMembers(members).rootOf(lease.holder);
        uint32 window = uint32(lease.id >> 32);
        uint64 addedMs = r.gpuMs - settledMs[r.lease];

        settledMs[r.lease] = r.gpuMs;
        deliveredMs[asset.classId][window][root][asset.level] += addedMs;

        // Before the event, which tells what was paid. All writes are done; the guard is for the order of the events,
        // which a payment token with hooks could turn around: a later receipt inside an earlier one.
        uint256 paid = IAccess(access).release(r.lease, r.gpuMs);

        emit Settled(r.lease, asset.classId, root, window, asset.level, r.gpuMs, addedMs, paid, r.head);
    }

    function _checkTime(Receipt calldata r, IAccess.Lease memory lease, uint256 units) private view {
        uint256 most = uint256(lease.amount) * 1000;
        if (r.gpuMs > most) revert OverLease(r.lease, r.gpuMs, most);

        if (block.timestamp < lease.startsAt) revert NotStarted(r.lease, lease.startsAt, block.timestamp);
        // Seconds x 1,000 ms x units / 1,000,000 units of a GPU.
        most = (block.timestamp - lease.startsAt) * units / 1000;
        if (r.gpuMs > most) revert OverWallClock(r.lease, r.gpuMs, most);
    }

    function _checkSignatures(
        uint256 index,
        SignedReceipt calldata s,
        IAccess.Lease memory lease,
        ILedger.Asset memory asset
    ) private view {
        bytes32 digest = receiptDigest(s.receipt);
        // An asset without a meter key has the point (0, 0), which is not on the curve: it never settles.
        if (!P256.verify(digest, s.nodeR, s.nodeS, asset.meterKeyX, asset.meterKeyY)) revert BadNodeSignature(index);
        if (!P256.verify(digest, s.sessionR, s.sessionS, lease.keyX, lease.keyY)) revert BadSessionSignature(index);
    }
}
