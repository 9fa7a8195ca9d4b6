// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {NotSelf, System, ZeroAddress} from "./interfaces/Types.sol";

/// @title Wiring: what every constructor asks of the addresses it is given
library Wiring {
    /// @notice Returns when no address is missing and `own` is the contract that is being made.
    function check(System memory s, address own) internal view {
        if (
            s.members == address(0) || s.ledger == address(0) || s.access == address(0) || s.meter == address(0)
                || s.council == address(0) || s.timelock == address(0) || s.token == address(0)
        ) revert ZeroAddress();
        if (own != address(this)) revert NotSelf(own, address(this));
    }
}
