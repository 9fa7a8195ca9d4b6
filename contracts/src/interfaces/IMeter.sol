// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Meter: what was delivered, and the anchors of the records behind it
/// @notice Receipts are signed by the asset's meter key and by the lease's session key: ES256 over the 66 bytes
/// `0x1901 || domain separator || struct hash`, hashed with SHA-256, low s.
///
/// What holds by structure:
/// - Nobody is paid more than the developer's session key signed for.
/// - The time of a lease only grows, never beyond the lease, never beyond wall-clock x GPUs between its start and the end
///   of its window; under a session key that was replaced, never beyond what could be used until that key's `until`.
/// - What is paid accrues to the holders of the asset's units, the commons among them.
/// - A receipt settled before, or an older one, changes nothing and costs the batch nothing.
/// - Anchors are append-only per submitter, numbered without a gap, each linked to the one before.
interface IMeter {
    /// `gpuMs`: cumulative GPU-milliseconds of the lease. `head`: head of the lease's hash chain of readings.
    struct Receipt {
        bytes32 lease;
        uint64 gpuMs;
        bytes32 head;
    }

    /// `keyNumber`: which session key of the lease has signed.
    struct SignedReceipt {
        Receipt receipt;
        uint16 keyNumber;
        bytes32 nodeR;
        bytes32 nodeS;
        bytes32 sessionR;
        bytes32 sessionS;
    }

    /// `gpuMs` is the new total of the lease, `addedMs` what this settlement added, `paid` what accrues for it. `level` is
    /// the lower of the asset's now and when the lease was made.
    event Settled(
        bytes32 indexed lease,
        bytes32 indexed classId,
        address indexed root,
        uint32 window,
        uint8 level,
        uint64 gpuMs,
        uint64 addedMs,
        uint256 paid,
        bytes32 head
    );
    /// `previous` is the hash of the submitter's anchor before: keccak256(abi.encode(previous, epoch, root, count, gpuMs)).
    event Anchored(
        address indexed submitter,
        uint64 indexed epoch,
        bytes32 root,
        bytes32 previous,
        uint32 count,
        uint64 gpuMs,
        string uri
    );

    error UnknownLease(bytes32 lease);
    error BadNodeSignature(uint256 index);
    error BadSessionSignature(uint256 index);
    error OverLease(bytes32 lease, uint256 gpuMs, uint256 most);
    error OverWallClock(bytes32 lease, uint256 gpuMs, uint256 most);
    error NotStarted(bytes32 lease, uint48 startsAt, uint256 nowS);
    error TooLate(bytes32 lease, uint256 until, uint256 nowS);
    error EpochNotNext(uint64 epoch, uint64 expected);
    error EmptyAnchor();

    /// @notice Settles a batch. Anyone may send it: both parties' signatures are all the authority there is.
    function settle(SignedReceipt[] calldata receipts) external;
    /// @notice Appends the sender's anchor of `epoch`, which must be `nextEpoch(sender)`.
    function anchor(uint64 epoch, bytes32 root, uint32 count, uint64 gpuMs, string calldata uri) external;

    /// @notice The bytes that the two keys sign, hashed with SHA-256.
    function receiptDigest(Receipt calldata r) external view returns (bytes32);
    function settledMs(bytes32 lease) external view returns (uint64);
    function deliveredMs(bytes32 classId, uint32 window, address root, uint8 level) external view returns (uint256);
    function nextEpoch(address submitter) external view returns (uint64);
    function lastAnchor(address submitter) external view returns (bytes32);
    function ledger() external view returns (address);
    function access() external view returns (address);
    function members() external view returns (address);
}
