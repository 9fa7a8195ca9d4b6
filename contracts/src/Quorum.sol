// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {IQuorum} from "./interfaces/IQuorum.sol";
import {Signature} from "./interfaces/Types.sol";

/// @title Quorum: k of n named signers
library Quorum {
    struct Signers {
        address[] list;
        mapping(address signer => bool) has;
        uint256 threshold;
    }

    /// @notice Fills an empty set. `list` holds at least `threshold` signers, none of them zero or twice.
    function init(Signers storage self, address[] memory list, uint256 threshold) internal {
        if (threshold == 0 || threshold > list.length) revert IQuorum.BadThreshold(threshold, list.length);
        for (uint256 i; i < list.length; ++i) {
            address signer = list[i];
            if (signer == address(0) || self.has[signer]) revert IQuorum.BadSigner(signer);

            self.has[signer] = true;
            self.list.push(signer);
        }
        self.threshold = threshold;
    }

    /// @notice Returns when the deadline has not passed and `threshold` or more signers signed `digest`. Every signature
    /// given must be good: one that is not counted would be a mistake nobody sees.
    function check(Signers storage self, bytes32 digest, uint48 deadline, Signature[] calldata quorum) internal view {
        if (block.timestamp > deadline) revert IQuorum.DeadlinePassed(deadline, block.timestamp);
        if (quorum.length < self.threshold) revert IQuorum.QuorumTooSmall(quorum.length, self.threshold);

        address previous;
        for (uint256 i; i < quorum.length; ++i) {
            address signer = quorum[i].signer;
            if (signer <= previous) revert IQuorum.SignersNotAscending(previous, signer);
            if (!self.has[signer]) revert IQuorum.NotInQuorum(signer);
            // The check is against the signer that the set knows, never against one that the signature names.
            if (!SignatureChecker.isValidSignatureNowCalldata(signer, digest, quorum[i].signature)) {
                revert IQuorum.BadSignature(signer);
            }
            previous = signer;
        }
    }
}
