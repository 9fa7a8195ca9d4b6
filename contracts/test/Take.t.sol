// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC6909} from "@openzeppelin/contracts/token/ERC6909/ERC6909.sol";

import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {Base} from "./Base.t.sol";

contract TakeTest is Base {
    uint256 internal asset;

    function setUp() public override {
        super.setUp();
        asset = register(machine(2 * MOST_HELD), noShares());
    }

    /// The model: who is below the limit gets the units, the operator the price, rounded up.
    function testTake(uint64 held, uint64 units, uint128 price) public {
        held = uint64(bound(held, 1, MOST_HELD));
        price = uint128(bound(price, 0, COMMONS_PRICE));
        units = uint64(bound(units, 1, MOST_HELD + 1));
        if (price != COMMONS_PRICE) {
            vm.prank(provider);
            ledger.lowerCommonsPrice(asset, price);
        }
        registerMachine(developer, held);
        uint256 cost = (uint256(units) * price + 1e6 - 1) / 1e6;
        fund(developer, address(ledger), cost);
        uint256 before = coin.balanceOf(provider);
        bool fits = held + units <= MOST_HELD;

        if (fits) {
            vm.expectEmit(address(ledger));
            emit ILedger.Taken(asset, developer, units, cost);
        } else {
            vm.expectRevert(
                abi.encodeWithSelector(ILedger.OverHoldingLimit.selector, GPUS, developer, held + units, MOST_HELD)
            );
        }
        vm.prank(developer);
        ledger.take(asset, units, price);

        uint256 taken = fits ? units : 0;
        assertEq(ledger.balanceOf(developer, asset), taken);
        assertEq(ledger.commonsOf(asset), 2 * MOST_HELD - taken);
        assertEq(ledger.heldBy(GPUS, developer), held + taken);
        assertEq(ledger.classOf(GPUS).total, 2 * MOST_HELD + held, "the commons was in the total before");
        assertEq(coin.balanceOf(provider) - before, fits ? cost : 0);
    }

    function testTakeByOneWhoRefusesGifts() public {
        refuseGifts(developer);
        fund(developer, address(ledger), COMMONS_PRICE);

        vm.prank(developer);
        ledger.take(asset, GPU, COMMONS_PRICE);

        assertEq(ledger.balanceOf(developer, asset), GPU, "what it asks for is no gift");
    }

    function testTakeCountsForTheGroup() public {
        attach(affiliate, developer);
        fund(affiliate, address(ledger), MOST_HELD * COMMONS_PRICE);
        vm.startPrank(affiliate);
        ledger.take(asset, MOST_HELD, COMMONS_PRICE);
        vm.stopPrank();

        assertEq(ledger.heldBy(GPUS, developer), MOST_HELD);
        assertEq(ledger.headroom(GPUS, developer), 0);
    }

    /// What is left after the operator's key was lost is paid to who stands in its place.
    function testTakeFromAReplacedOperator() public {
        recover(provider, stranger);
        fund(developer, address(ledger), COMMONS_PRICE);
        vm.prank(developer);
        ledger.take(asset, GPU, COMMONS_PRICE);

        assertEq(coin.balanceOf(stranger), COMMONS_PRICE);
    }

    function testTakeAboveMaxPrice(uint128 maxPrice) public {
        maxPrice = uint128(bound(maxPrice, 0, COMMONS_PRICE - 1));
        _refuse(GPU, maxPrice, abi.encodeWithSelector(ILedger.PriceAbove.selector, COMMONS_PRICE, maxPrice));
    }

    function testTakeMoreThanTheCommonsHas() public {
        uint256 small = register(machine(GPU), noShares());
        vm.expectRevert(
            abi.encodeWithSelector(ERC6909.ERC6909InsufficientBalance.selector, address(ledger), GPU, GPU + 1, small)
        );
        vm.prank(developer);
        ledger.take(small, GPU + 1, COMMONS_PRICE);
    }

    function testTakeNothing() public {
        _refuse(0, COMMONS_PRICE, abi.encodeWithSelector(ILedger.NoUnits.selector));
    }

    function testTakeUnknownAsset(uint256 other) public {
        vm.assume(other != asset);
        vm.expectRevert(abi.encodeWithSelector(ILedger.UnknownAsset.selector, other));
        ledger.take(other, GPU, COMMONS_PRICE);
    }

    function testTakeByNoActiveMember() public {
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotActiveMember.selector, stranger));
        ledger.take(asset, GPU, COMMONS_PRICE);
    }

    function testTakeUnpaid() public {
        vm.prank(developer);
        vm.expectRevert();
        ledger.take(asset, GPU, COMMONS_PRICE);
        assertEq(ledger.balanceOf(developer, asset), 0);
    }

    function testLowerCommonsPrice(uint128 price, uint128 lower) public {
        price = uint128(bound(price, 1, COMMONS_PRICE - 1));
        lower = uint128(bound(lower, 0, price - 1));
        vm.startPrank(provider);
        ledger.lowerCommonsPrice(asset, price);
        vm.expectEmit(address(ledger));
        emit ILedger.CommonsPriced(asset, lower);
        ledger.lowerCommonsPrice(asset, lower);

        assertEq(ledger.assetOf(asset).commonsPrice, lower);
    }

    function testLowerCommonsPriceUpwards(uint128 price) public {
        price = uint128(bound(price, COMMONS_PRICE, type(uint128).max));
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(ILedger.PriceNotLower.selector, price, COMMONS_PRICE));
        ledger.lowerCommonsPrice(asset, price);
    }

    function testLowerCommonsPriceToWhatItIs() public {
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(ILedger.PriceNotLower.selector, COMMONS_PRICE, COMMONS_PRICE));
        ledger.lowerCommonsPrice(asset, COMMONS_PRICE);
    }

    /// Whoever has a key that was lost gives nothing away, also before the asset is recovered.
    function testLowerCommonsPriceByAReplacedOperator() public {
        recover(provider, stranger);
        bytes memory reason = abi.encodeWithSelector(IMembers.Replaced.selector, provider, stranger);
        vm.prank(provider);
        vm.expectRevert(reason);
        ledger.lowerCommonsPrice(asset, 0);

        ledger.recover(provider, _list(asset));
        vm.prank(stranger);
        ledger.lowerCommonsPrice(asset, 0);
        assertEq(ledger.assetOf(asset).commonsPrice, 0);
    }

    function testLowerCommonsPriceByAnother(address sender) public {
        vm.assume(sender != provider);
        vm.prank(sender);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotRegistrant.selector, sender, provider));
        ledger.lowerCommonsPrice(asset, 0);
    }

    function _list(uint256 id) private pure returns (uint256[] memory list) {
        list = new uint256[](1);
        list[0] = id;
    }

    function _refuse(uint64 units, uint128 maxPrice, bytes memory reason) private {
        vm.prank(developer);
        vm.expectRevert(reason);
        ledger.take(asset, units, maxPrice);
    }
}
