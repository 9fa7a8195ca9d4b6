// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

import {ICouncil} from "./interfaces/ICouncil.sol";
import {ZeroAddress} from "./interfaces/Types.sol";

/// @title Timelock: the only account that changes anything, and only as the council has decided
/// @notice OpenZeppelin's TimelockController with one proposer, the council, and an executor's role that is open to all.
/// Its roles and its delay never change: the functions that would change them revert for everybody, itself included.
contract Timelock is TimelockController {
    uint256 private constant MIN_DELAY = 1 days;
    uint256 private constant MAX_DELAY = 30 days;

    /// Constructor only.
    error BadDelay(uint256 delay, uint256 min, uint256 max);

    constructor(uint256 minDelay, address council)
        TimelockController(minDelay, _only(council), _only(address(0)), address(0))
    {
        if (council == address(0)) revert ZeroAddress();
        if (minDelay < MIN_DELAY || minDelay > MAX_DELAY) revert BadDelay(minDelay, MIN_DELAY, MAX_DELAY);
    }

    /// @notice Reverts with Fixed.
    function updateDelay(uint256) public pure override {
        revert ICouncil.Fixed();
    }

    /// @notice Reverts with Fixed.
    function grantRole(bytes32, address) public pure override(AccessControl) {
        revert ICouncil.Fixed();
    }

    /// @notice Reverts with Fixed.
    function revokeRole(bytes32, address) public pure override(AccessControl) {
        revert ICouncil.Fixed();
    }

    /// @notice Reverts with Fixed.
    function renounceRole(bytes32, address) public pure override(AccessControl) {
        revert ICouncil.Fixed();
    }

    function _only(address account) private pure returns (address[] memory list) {
        list = new address[](1);
        list[0] = account;
    }
}
