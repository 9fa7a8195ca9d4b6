// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// What a class counts. DATA and MODEL are measured in the class's own unit, COMPUTE in GPUs.
enum Kind {
    DATA,
    MODEL,
    COMPUTE
}

/// One signature of a quorum. The signer is named, so that contract accounts (ERC-1271) can sign as well.
/// Quorums list their signatures in strictly ascending order of `signer`: nobody counts twice.
struct Signature {
    address signer;
    bytes signature;
}

/// Constructor only: every contract names all the others.
error ZeroAddress();
