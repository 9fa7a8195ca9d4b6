// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {console} from "forge-std/console.sol";

import {Base} from "./Base.t.sol";

/// What a vote costs as a transaction of its own: all slots cold, 21,000 and the calldata included. The bounds are what
/// OpenZeppelin's Governor with GovernorCountingSimple, GovernorVotesQuorumFraction and ERC20Votes costs, measured so.
/// forge-config: default.isolate = true
contract VoteGasTest is Base {
    uint256 internal constant FIRST = 83_233;
    uint256 internal constant LATER = 66_133;
    uint256 internal constant SLOT = 2_500; // one cold slot more

    uint256 internal id;

    function setUp() public override {
        super.setUp();
        skipTo(START + 1);
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) =
            (new address[](1), new uint256[](1), new bytes[](1));
        vm.prank(provider);
        id = council.propose(targets, values, calls, "why");
        skipTo(council.proposalSnapshot(id) + 1);
    }

    function test_vote() public {
        assertLe(_vote("first vote", provider), FIRST);
        assertLe(_vote("later vote", affiliate), LATER);
    }

    /// Asks as well when the account came to be controlled.
    function test_voteOfAGroupThatHasJoinedAnother() public {
        _vote("first vote", provider);
        attach(affiliate, developer);

        assertLe(_vote("later vote, attached since the snapshot", affiliate), LATER + SLOT);
    }

    function _vote(string memory what, address account) private returns (uint256 gas) {
        vm.prank(account);
        council.castVote(id, 1);
        gas = vm.lastCallGas().gasTotalUsed;
        console.log("%s: %d", what, gas);
    }
}
