// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {console} from "forge-std/console.sol";

import {Base} from "./Base.t.sol";

/// What a transfer of units costs as a transaction of its own: all slots cold, 21,000 and the calldata included.
/// forge-config: default.isolate = true
contract GasTest is Base {
    uint256 internal constant NEW_HOLDER = 95_000;
    uint256 internal constant EXISTING = 60_000;
    uint256 internal constant HOP = 2_500; // for each controller on the way to a root: one cold slot more

    address internal wallet;
    address internal holding;
    uint256 internal asset;

    function setUp() public override {
        super.setUp();
        wallet = _actor("wallet");
        holding = _actor("holding");
        admit(wallet);
        admit(holding);
        asset = registerMachine(provider, 20 * GPU);
    }

    function test_transferBetweenRoots() public {
        assertLe(_transfer("new holder, new group", provider, developer), NEW_HOLDER);
        assertLe(_transfer("existing holder", provider, developer), EXISTING);
    }

    function test_transferToControlled() public {
        attach(affiliate, developer);

        uint256 gas = _transfer("new holder, new group, receiver controlled", provider, affiliate);
        assertLe(gas, NEW_HOLDER + HOP);
        gas = _transfer("existing holder, receiver controlled", provider, affiliate);
        assertLe(gas, EXISTING + HOP);
    }

    function test_transferBetweenControlled() public {
        attach(affiliate, developer);
        attach(wallet, holding);
        vm.prank(provider);
        ledger.transfer(wallet, asset, 3 * GPU);

        uint256 gas = _transfer("new holder, new group, both controlled", wallet, affiliate);
        assertLe(gas, NEW_HOLDER + 2 * HOP);
        gas = _transfer("existing holder, both controlled", wallet, affiliate);
        assertLe(gas, EXISTING + 2 * HOP);
    }

    function test_transferInsideOneGroup() public {
        attach(affiliate, provider);

        assertLe(_transfer("new holder, same group", provider, affiliate), NEW_HOLDER);
        assertLe(_transfer("existing holder, same group", provider, affiliate), EXISTING);
    }

    function _transfer(string memory what, address from, address to) private returns (uint256 gas) {
        vm.prank(from);
        ledger.transfer(to, asset, GPU);
        gas = vm.lastCallGas().gasTotalUsed;
        console.log("%s: %d", what, gas);
    }
}
