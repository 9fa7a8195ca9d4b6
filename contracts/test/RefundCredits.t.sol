// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC6909} from "@openzeppelin/contracts/interfaces/IERC6909.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {Base} from "./Base.t.sol";
import {HookCoin} from "./HookCoin.sol";

contract RefundCreditsTest is Base {
    uint64 internal constant AMOUNT = 100_000;

    uint256 internal asset;
    uint32 internal window;
    uint256 internal end;

    function setUp() public override {
        super.setUp();
        asset = register(machine(50 * GPU), noShares());
        window = access.currentWindow();
        end = (uint256(window) + 1) * WINDOW;
    }

    function testRefundCredits(address sender, uint128 price, uint64 amount, uint64 redeemed, uint256 later) public {
        price = uint128(bound(price, 1, 1e24));
        amount = uint64(bound(amount, 2, MOST_USED));
        redeemed = uint64(bound(redeemed, 1, amount - 1));
        uint256 id = open(asset, window, price);
        buy(id, developer, amount);
        redeem(developer, id, redeemed);
        uint256 left = amount - redeemed;
        skipTo(bound(later, end, end + 1_000 weeks));

        vm.expectEmit(address(access));
        emit IERC6909.Transfer(sender, developer, address(0), id, left);
        vm.expectEmit(address(access));
        emit IAccess.CreditsRefunded(id, developer, left, left * price);
        vm.prank(sender);
        assertEq(access.refundCredits(id, developer), left * price);

        assertEq(access.balanceOf(developer, id), 0);
        assertEq(coin.balanceOf(developer), left * price);
        assertEq(coin.balanceOf(address(access)), uint256(redeemed) * price, "the lease's own");
        vm.expectRevert(IAccess.NothingToRefund.selector);
        access.refundCredits(id, developer);
    }

    /// Whoever holds the credits when the window is over is paid for them.
    function testRefundCreditsThatWereSentOn(uint64 sent) public {
        sent = uint64(bound(sent, 1, AMOUNT - 1));
        uint256 id = open(asset, window, 5);
        buy(id, developer, AMOUNT);
        vm.prank(developer);
        access.transfer(affiliate, id, sent);
        skipTo(end);

        access.refundCredits(id, affiliate);
        access.refundCredits(id, developer);

        assertEq(coin.balanceOf(affiliate), uint256(sent) * 5);
        assertEq(coin.balanceOf(developer), uint256(AMOUNT - sent) * 5);
        assertEq(coin.balanceOf(address(access)), 0);
    }

    function testRefundCreditsBeforeTheEnd(uint256 when) public {
        when = bound(when, START, end - 1);
        uint256 id = open(asset, window, 5);
        buy(id, developer, AMOUNT);
        skipTo(when);
        vm.expectRevert(abi.encodeWithSelector(IAccess.WindowNotOver.selector, window, end, when));
        access.refundCredits(id, developer);
    }

    function testRefundCreditsOfAGrant() public {
        uint256 id = open(asset, window, 0);
        grant(id, developer, AMOUNT);
        skipTo(end);
        vm.expectRevert(IAccess.NothingToRefund.selector);
        access.refundCredits(id, developer);
    }

    function testRefundCreditsOfNothing(address holder) public {
        uint256 id = open(asset, window, 5);
        skipTo(end);
        vm.expectRevert(IAccess.NothingToRefund.selector);
        access.refundCredits(id, holder);
    }

    function testRefundCreditsToTheSuccessor() public {
        address successor = _actor("successor");
        uint256 id = open(asset, window, 5);
        buy(id, developer, AMOUNT);
        recover(developer, successor);
        skipTo(end);

        access.refundCredits(id, developer);

        assertEq(coin.balanceOf(successor), uint256(AMOUNT) * 5);
        assertEq(access.balanceOf(developer, id), 0);
    }

    /// The limits are for acquiring: who is over is paid like anybody else.
    function testRefundCreditsOfAGroupOverItsLimit() public {
        uint256 id = open(asset, window, 5);
        buy(id, developer, MOST_USED);
        registerMachine(developer, MOST_HELD);
        registerMachine(affiliate, MOST_HELD);
        attach(affiliate, developer);
        skipTo(end);

        assertEq(access.refundCredits(id, developer), uint256(MOST_USED) * 5);
    }

    /// The money leaves last.
    function testRefundCreditsInsideARefund() public {
        uint256 id = open(asset, window, 5);
        buy(id, developer, AMOUNT);
        buy(id, affiliate, AMOUNT); // there is more to take
        skipTo(end);
        vm.etch(address(coin), address(new HookCoin()).code);
        bytes memory again = abi.encodeCall(IAccess.refundCredits, (id, developer));
        HookCoin(address(coin)).arm(address(access), again);

        access.refundCredits(id, developer);

        assertEq(HookCoin(address(coin)).answer(), abi.encodeWithSelector(IAccess.NothingToRefund.selector));
        assertEq(coin.balanceOf(developer), uint256(AMOUNT) * 5);
    }
}
