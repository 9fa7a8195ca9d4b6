// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title Coin: a payment token for development chains
/// @notice The whole supply goes to one account. Not for a chain where anything has a price.
contract Coin is ERC20, ERC20Permit {
    constructor(string memory name_, string memory symbol_, address to, uint256 supply)
        ERC20(name_, symbol_)
        ERC20Permit(name_)
    {
        _mint(to, supply);
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }
}
