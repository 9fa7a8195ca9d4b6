// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {Base} from "./Base.t.sol";

contract BuyTest is Base {
    uint256 internal asset;
    uint32 internal window;

    function setUp() public override {
        super.setUp();
        asset = register(machine(50 * GPU), noShares());
        window = access.currentWindow();
    }

    function testBuy(uint128 price, uint64 amount, uint128 maxPrice) public {
        price = uint128(bound(price, 1, 1e24));
        amount = uint64(bound(amount, 1, MOST_USED));
        maxPrice = uint128(bound(maxPrice, price, type(uint128).max));
        uint256 id = open(asset, window, price);
        uint256 cost = uint256(price) * amount;
        fund(developer, address(access), cost);

        vm.expectEmit(address(access));
        emit IAccess.Bought(id, developer, amount, cost);
        vm.prank(developer);
        access.buy(id, amount, maxPrice);

        assertEq(access.balanceOf(developer, id), amount);
        assertEq(access.issued(asset, window), amount);
        assertEq(access.acquiredBy(GPUS, window, developer), amount);
        assertEq(coin.balanceOf(address(access)), cost);
        assertEq(coin.balanceOf(developer), 0);
    }

    function testBuyWithPermit(uint128 price, uint64 amount, bool frontRun) public {
        price = uint128(bound(price, 1, 1e24));
        amount = uint64(bound(amount, 1, MOST_USED));
        uint256 id = open(asset, window, price);
        uint256 cost = uint256(price) * amount;
        assertTrue(coin.transfer(developer, cost));
        (uint8 v, bytes32 r, bytes32 s) = _permit(cost);
        // Whoever sees the permit may send it first; the purchase goes through all the same.
        if (frontRun) coin.permit(developer, address(access), cost, DEADLINE, v, r, s);

        vm.prank(developer);
        access.buyWithPermit(id, amount, price, DEADLINE, v, r, s);

        assertEq(access.balanceOf(developer, id), amount);
        assertEq(coin.balanceOf(address(access)), cost);
        assertEq(coin.allowance(developer, address(access)), 0);
    }

    function testBuyWithABadPermit() public {
        uint256 id = open(asset, window, 5);
        (uint8 v, bytes32 r, bytes32 s) = _permit(11);
        assertTrue(coin.transfer(developer, 10));
        vm.prank(developer);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(access), 0, 10)
        );
        access.buyWithPermit(id, 2, 5, DEADLINE, v, r, s);
    }

    /// Ocean's escrow does nothing, and says nothing, when the balance is short.
    function testBuyWithoutTheMoney(uint64 amount) public {
        amount = uint64(bound(amount, 1, MOST_USED));
        uint256 id = open(asset, window, 1);
        vm.startPrank(developer);
        coin.approve(address(access), amount);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, developer, 0, amount));
        access.buy(id, amount, 1);
        assertEq(access.issued(asset, window), 0);
    }

    function testBuyAboveMaxPrice(uint128 price, uint128 maxPrice) public {
        price = uint128(bound(price, 1, type(uint128).max));
        maxPrice = uint128(bound(maxPrice, 0, price - 1));
        uint256 id = open(asset, window, price);
        _refuse(id, 1, maxPrice, abi.encodeWithSelector(IAccess.PriceAbove.selector, price, maxPrice));
    }

    function testBuyWhatIsNotForSale() public {
        uint256 id = open(asset, window, 0);
        _refuse(id, 1, 0, abi.encodeWithSelector(IAccess.NotForSale.selector, id));
    }

    function testBuyNotOpen(uint256 id) public {
        _refuse(id, 1, 1, abi.encodeWithSelector(IAccess.NotOpen.selector, id));
    }

    function testBuyNothing() public {
        uint256 id = open(asset, window, 1);
        _refuse(id, 0, 1, abi.encodeWithSelector(IAccess.NoAmount.selector));
    }

    function testBuyInAnEndedWindow(uint32 later) public {
        later = uint32(bound(later, 1, 1_000));
        uint256 id = open(asset, window, 1);
        vm.warp(uint256(window + later) * WINDOW);
        _refuse(
            id,
            1,
            1,
            abi.encodeWithSelector(IAccess.WindowNotOpen.selector, window, window + later, window + later + HORIZON)
        );
    }

    /// No way around the capacity or the use limit leads through the price.
    function testBuyOverTheLimits(uint64 amount) public {
        uint256 id = open(asset, window, 1);
        amount = uint64(bound(amount, access.capacity(asset) + 1, type(uint64).max));
        bytes memory reason =
            abi.encodeWithSelector(IAccess.Oversold.selector, asset, window, amount, access.capacity(asset));
        _refuse(id, amount, 1, reason);
        amount = uint64(bound(amount, MOST_USED + 1, access.capacity(asset)));
        reason = abi.encodeWithSelector(IAccess.OverUseLimit.selector, GPUS, window, developer, amount, MOST_USED);
        _refuse(id, amount, 1, reason);
    }

    function testBuyOfALapsedAsset() public {
        skipTo(EXPIRES - HORIZON * WINDOW);
        uint256 id = open(asset, access.currentWindow() + HORIZON, 1);
        buy(id, developer, 1);
        skipTo(EXPIRES);
        _refuse(id, 1, 1, abi.encodeWithSelector(IAccess.AssetNotLive.selector, asset));
    }

    function testBuyAsNoActiveMember(address buyer) public {
        vm.assume(buyer != address(0) && !isMember(buyer));
        uint256 id = open(asset, window, 1);
        vm.prank(buyer);
        vm.expectRevert(abi.encodeWithSelector(IAccess.NotActiveMember.selector, buyer));
        access.buy(id, 1, 1);
    }

    function _permit(uint256 cost) private view returns (uint8 v, bytes32 r, bytes32 s) {
        bytes32 t = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 h = keccak256(abi.encode(t, developer, address(access), cost, 0, DEADLINE));
        return vm.sign(keyOf[developer], typed(coin.DOMAIN_SEPARATOR(), h));
    }

    function _refuse(uint256 id, uint64 amount, uint128 maxPrice, bytes memory reason) private {
        vm.prank(developer);
        vm.expectRevert(reason);
        access.buy(id, amount, maxPrice);
    }
}
