// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC6909} from "@openzeppelin/contracts/interfaces/IERC6909.sol";

import {IMembers} from "../../src/interfaces/IMembers.sol";
import {Signature} from "../../src/interfaces/Types.sol";

/// Many events in one transaction, for tests/bench/mirror.py: it asks the real contracts again and again, as anyone may.
/// Its members are numbers; the account of one is part of the number's hash.
contract Driver {
    function account(uint256 member) public pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode(member)))));
    }

    /// One Admitted for each.
    function admit(IMembers members, IMembers.Admission[] calldata admissions, Signature[][] calldata quorums)
        external
    {
        for (uint256 i; i < admissions.length; ++i) {
            members.admit(admissions[i], quorums[i]);
        }
    }

    /// One Transfer for each of `count` pairs of member and asset, counted from `first`, all assets of a member in turn:
    /// the driver gives of its own.
    function give(IERC6909 ledger, uint256[] calldata assets, uint256 first, uint256 count, uint256 units) external {
        for (uint256 i = first; i < first + count; ++i) {
            ledger.transfer(account(i / assets.length), assets[i % assets.length], units);
        }
    }

    /// `count` Transfers between two of the first `members`, drawn by `seed`: all have made the driver their operator.
    function move(IERC6909 ledger, uint256[] calldata assets, uint256 members, uint256 seed, uint256 count) external {
        for (uint256 i; i < count; ++i) {
            uint256 drawn = uint256(keccak256(abi.encode(seed, i)));
            address sender = account(drawn % members);
            address receiver = account((drawn >> 64) % members);
            uint256 asset = assets[(drawn >> 128) % assets.length];
            ledger.transferFrom(sender, receiver, asset, 1 + (drawn >> 192) % 3);
        }
    }
}
