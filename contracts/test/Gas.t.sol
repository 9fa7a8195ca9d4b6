// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {console} from "forge-std/console.sol";

import {ILedger} from "../src/interfaces/ILedger.sol";
import {Signature} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

/// What movements of units cost as transactions of their own: all slots cold, 21,000 and the calldata included. The last
/// call of every test is the one that its name and the table of `forge test --mc GasTest -vv` tell; .gas-snapshot has the
/// same tests.
/// forge-config: default.isolate = true
contract GasTest is Base {
    uint256 internal constant NEW_HOLDER = 95_000;
    uint256 internal constant EXISTING = 60_000;
    /// Each controller on the way to a root: its slot, its total, and for every account that is no root the path to it.
    uint256 internal constant HOP = 12_500;
    uint256 internal constant NEW_NODE = 17_100; // a total that was zero
    /// Crediting both sides with what they earned before: two slots more.
    uint256 internal constant EARNED = 13_500;
    uint256 internal constant NEW_RECORD = 17_100; // for who has none yet

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
        assertLe(_transfer("new holder", provider, developer), NEW_HOLDER);
        assertLe(_transfer("existing holder", provider, developer), EXISTING);
    }

    function test_transferAtTheCap() public {
        uint256 other = registerMachine(developer, MOST_HELD - GPU);

        assertLe(_transfer("new holder, to the limit", provider, developer), NEW_HOLDER);
        vm.prank(developer);
        ledger.transfer(wallet, other, GPU);
        assertLe(_transfer("existing holder, to the limit", provider, developer), EXISTING);
        assertEq(ledger.headroom(GPUS, developer), 0);
    }

    function test_transferToControlled() public {
        attach(affiliate, developer);

        uint256 gas = _transfer("new holder, receiver controlled", provider, affiliate);
        assertLe(gas, NEW_HOLDER + HOP + NEW_NODE);
        gas = _transfer("existing holder, receiver controlled", provider, affiliate);
        assertLe(gas, EXISTING + HOP);
    }

    function test_transferBetweenControlled() public {
        attach(affiliate, developer);
        attach(wallet, holding);
        vm.prank(provider);
        ledger.transfer(wallet, asset, 3 * GPU);

        uint256 gas = _transfer("new holder, both controlled", wallet, affiliate);
        assertLe(gas, NEW_HOLDER + 2 * HOP + NEW_NODE);
        gas = _transfer("existing holder, both controlled", wallet, affiliate);
        assertLe(gas, EXISTING + 2 * HOP);
    }

    function test_transferInsideAGroup() public {
        attach(affiliate, provider);

        assertLe(_transfer("new holder, same group", provider, affiliate), NEW_HOLDER);
        assertLe(_transfer("existing holder, same group", provider, affiliate), EXISTING);
    }

    function test_transferAfterRevenue() public {
        _accrue();
        assertLe(_transfer("new holder, after revenue", provider, developer), NEW_HOLDER + EARNED + 2 * NEW_RECORD);
        _accrue();
        assertLe(_transfer("existing holder, after revenue", provider, developer), EXISTING + EARNED);
    }

    function test_transferOfRetired() public {
        vm.prank(provider);
        ledger.transfer(developer, asset, GPU);
        vm.warp(EXPIRES + GRACE);
        ledger.retire(asset, _devices());

        uint256 gas = _transfer("retired, neither side synced", provider, developer);
        assertLe(gas, 2 * EXISTING);
        assertLe(_transfer("retired, both synced", provider, developer), EXISTING);
    }

    function test_register() public {
        ILedger.Appraisal memory a = machine(GPU);
        Signature[] memory quorum = appraised(a);
        ILedger.Share[] memory split = oneShare(provider, GPU);
        vm.prank(provider);
        ledger.register(a, quorum, split, COMMONS_PRICE, "ipfs://manifest");

        assertLe(_told("register, one share"), 600_000);
    }

    function test_take() public {
        uint256 other = register(machine(10 * GPU), noShares());
        fund(developer, address(ledger), 100 * COMMONS_PRICE);
        vm.prank(developer);
        ledger.take(other, GPU, COMMONS_PRICE);
        assertLe(_told("take, new holder"), 150_000);

        vm.prank(developer);
        ledger.take(other, GPU, COMMONS_PRICE);
        assertLe(_told("take, existing holder"), 100_000);
    }

    function test_decline() public {
        vm.prank(provider);
        ledger.decline(asset, GPU);

        assertLe(_told("decline, first of the asset"), NEW_HOLDER);
    }

    function test_claim() public {
        _accrue();
        assertLe(_told("accrue, first"), 130_000);
        ledger.claim(asset, provider);
        assertLe(_told("claim, first"), 150_000);
    }

    function _transfer(string memory what, address from, address to) private returns (uint256 gas) {
        vm.prank(from);
        ledger.transfer(to, asset, GPU);
        return _told(what);
    }

    function _accrue() private {
        assertTrue(coin.transfer(address(access), 1e6));
        vm.prank(address(meter));
        ledger.accrue(asset, 1e6);
    }

    function _devices() private pure returns (bytes32[] memory devices) {
        devices = new bytes32[](1);
        devices[0] = keccak256(abi.encode("device", uint256(1)));
    }

    function _told(string memory what) private view returns (uint256 gas) {
        gas = vm.lastCallGas().gasTotalUsed;
        console.log("%s: %d", what, gas);
    }
}
