// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {console} from "forge-std/console.sol";

import {IMeter} from "../src/interfaces/IMeter.sol";
import {Base} from "./Base.t.sol";

/// What a receipt costs in a batch of 100 different leases: the whole transaction, 21,000 and the calldata included,
/// divided by 100.
/// forge-config: default.isolate = true
contract SettleGasTest is Base {
    uint256 internal constant MOST = 55_000;
    uint256 internal constant COUNT = 100;
    uint256 internal constant EMPTY_SLOTS = 20_000;

    /// Each lease has its first receipt, and all are the developer's.
    function test_firstReceipts() public {
        assertLe(_settle("first receipt, bought", _leases(7), 1000), MOST);
    }

    function test_laterReceipts() public {
        bytes32[] memory leases = _leases(7);
        _settle("first receipt, bought", leases, 1000);
        assertLe(_settle("later receipt, bought", leases, 2000), MOST);
    }

    function test_receiptsOfGrants() public {
        assertLe(_settle("first receipt, granted", _leases(0), 1000), MOST);
    }

    /// The dearest batch: each lease is a group's first in its class, window and level, and writes a slot that was empty.
    function test_firstReceiptsOfAsManyGroups() public {
        uint256 id = open(registerMachine(provider, 8 * GPU), access.currentWindow(), 7);
        bytes32[] memory leases = new bytes32[](COUNT);
        skipTo(START + 1 days); // that day's admissions
        for (uint256 i; i < COUNT; ++i) {
            address holder = _actor(vm.toString(i));
            admit(holder);
            buy(id, holder, 1000);
            leases[i] = redeem(holder, id, 1000);
        }
        skipTo(START + 1 days + 1 hours);

        assertLe(_settle("first receipt of a group, bought", leases, 1000), MOST + EMPTY_SLOTS);
    }

    function _leases(uint128 price) private returns (bytes32[] memory leases) {
        uint256 id = open(registerMachine(provider, 8 * GPU), access.currentWindow(), price);
        uint64 amount = 1000;
        if (price == 0) grant(id, developer, amount * uint64(COUNT));
        else buy(id, developer, amount * uint64(COUNT));
        leases = new bytes32[](COUNT);
        for (uint256 i; i < COUNT; ++i) {
            leases[i] = redeem(developer, id, amount);
        }
        skipTo(START + 1 hours);
    }

    function _settle(string memory what, bytes32[] memory leases, uint64 gpuMs) private returns (uint256 gas) {
        IMeter.SignedReceipt[] memory list = new IMeter.SignedReceipt[](leases.length);
        for (uint256 i; i < leases.length; ++i) {
            list[i] = receipt(leases[i], gpuMs);
        }
        meter.settle(list);
        gas = vm.lastCallGas().gasTotalUsed / leases.length;
        console.log("%s: %d a receipt", what, gas);
    }
}
