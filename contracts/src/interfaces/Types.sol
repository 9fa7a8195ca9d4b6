// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// What a class counts. DATA and MODEL are measured in the class's own unit, COMPUTE in GPUs.
enum Kind {
    DATA,
    MODEL,
    COMPUTE
}

/// How an account stands to what is sent to it.
enum Standing {
    INACTIVE,
    ACTIVE,
    /// Active, and takes only what it asked for.
    REFUSING
}

/// One signature of a quorum. The signer is named, so that contract accounts (ERC-1271) can sign as well.
/// Quorums list their signatures in strictly ascending order of `signer`: nobody counts twice.
struct Signature {
    address signer;
    bytes signature;
}

/// The contracts of one deployment. Each is given all addresses when it is made, its own among them, and keeps those that
/// it calls or is called by; none changes.
struct System {
    address members;
    address ledger;
    address access;
    address meter;
    address council;
    address timelock;
    /// The ERC-20 that is paid in.
    address token;
}

/// Constructor only: an address of the system is missing.
error ZeroAddress();
/// Constructor only: the contract is not made at the address that the system has for it.
error NotSelf(address expected, address self);
