// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Create3} from "@openzeppelin/contracts/utils/Create3.sol";

/// @title Factory: makes contracts at addresses that are known before
/// @notice The address follows from this contract, the sender and the salt, not from the code: contracts that name each
/// other can be made in any order. Nobody owns it, it keeps nothing, and it calls no contract after it was made.
/// Where it is itself made by a CREATE2 deployer that many chains have, its address is the same on all of them.
contract Factory {
    event Created(address indexed deployer, bytes32 indexed salt, address made);

    /// @notice Makes a contract of `initCode`, which ends with its constructor's arguments. A sender uses a salt once;
    /// what the constructor reverts with comes through.
    function create(bytes32 salt, bytes calldata initCode) external returns (address made) {
        made = Create3.deploy(0, _mix(msg.sender, salt), initCode);

        emit Created(msg.sender, salt, made);
    }

    /// @notice Where `create(salt, ...)` of `deployer` puts its contract, or has put it.
    function addressOf(address deployer, bytes32 salt) external view returns (address) {
        return Create3.computeAddress(_mix(deployer, salt));
    }

    /// Nobody takes the address that another sender was told.
    function _mix(address deployer, bytes32 salt) private pure returns (bytes32) {
        return keccak256(abi.encode(deployer, salt));
    }
}
