// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC6909} from "@openzeppelin/contracts/interfaces/IERC6909.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {Base} from "./Base.t.sol";

contract GrantTest is Base {
    uint256 internal asset;
    uint256 internal id;
    uint32 internal window;

    function setUp() public override {
        super.setUp();
        asset = register(machine(50 * GPU), noShares());
        window = access.currentWindow();
        id = open(asset, window, 0);
    }

    function testGrant(uint64 amount) public {
        amount = uint64(bound(amount, 1, MOST_USED));

        vm.expectEmit(address(access));
        emit IERC6909.Transfer(provider, address(0), developer, id, amount);
        grant(id, developer, amount);

        assertEq(access.balanceOf(developer, id), amount);
        assertEq(access.issued(asset, window), amount);
        assertEq(access.acquiredBy(GPUS, window, developer), amount);
        assertEq(access.useHeadroom(GPUS, window, developer), MOST_USED - amount);
        assertEq(access.useHeadroom(GPUS, window + 1, developer), MOST_USED, "each window by itself");
    }

    function testGrantOverTheUseLimit(uint64 first, uint64 second) public {
        first = uint64(bound(first, 1, MOST_USED));
        second = uint64(bound(second, MOST_USED - first + 1, MOST_USED));
        attach(affiliate, developer);
        grant(id, affiliate, first);
        bytes memory reason = abi.encodeWithSelector(
            IAccess.OverUseLimit.selector, GPUS, window, developer, uint256(first) + second, MOST_USED
        );
        _refuse(provider, id, developer, second, reason);
    }

    function testGrantByAReplacedOperator() public {
        recover(provider, stranger);
        _refuse(provider, id, developer, 1, abi.encodeWithSelector(IMembers.Replaced.selector, provider, stranger));
    }

    /// One window, several tranches, several owners: together never more than the machine has seconds.
    function testGrantNoMoreThanTheCapacity(uint64 units, uint64 first, uint64 second) public {
        units = uint64(bound(units, 1, 30 * GPU));
        uint256 most = uint256(units) * WINDOW / 1e6;
        asset = registerMachine(provider, units);
        assertEq(access.capacity(asset), most);
        if (most > MOST_USED) most = MOST_USED;
        vm.assume(most > 0);
        first = uint64(bound(first, 1, most));
        uint256 left = access.capacity(asset) - first;
        vm.startPrank(provider);
        id = access.open(asset, window, 7, 0);
        uint256 other = access.open(asset, window, 8, 0);
        vm.stopPrank();
        grant(id, developer, first);

        second = uint64(bound(second, left + 1, type(uint64).max));
        bytes memory reason = abi.encodeWithSelector(
            IAccess.Oversold.selector, asset, window, uint256(first) + second, access.capacity(asset)
        );
        _refuse(provider, other, affiliate, second, reason);
        if (left > 0 && left <= MOST_USED) grant(other, affiliate, uint64(bound(left, 1, MOST_USED)));
    }

    function testGrantByAnotherThanTheOperator(address sender) public {
        vm.assume(sender != provider);
        bytes memory reason = abi.encodeWithSelector(IAccess.NotOperator.selector, sender, asset);
        _refuse(sender, id, developer, 1, reason);
    }

    function testGrantNotOpen(uint32 tranche) public {
        vm.assume(tranche != 0);
        uint256 other = access.creditId(asset, window, tranche);
        _refuse(provider, other, developer, 1, abi.encodeWithSelector(IAccess.NotOpen.selector, other));
    }

    function testGrantWhatIsForSale(uint128 price) public {
        price = uint128(bound(price, 1, type(uint128).max));
        id = open(asset, window, price);
        _refuse(provider, id, developer, 1, abi.encodeWithSelector(IAccess.NotForGrant.selector, id, price));
    }

    function testGrantNothing() public {
        _refuse(provider, id, developer, 0, abi.encodeWithSelector(IAccess.NoAmount.selector));
    }

    function testGrantInAnEndedWindow(uint32 later) public {
        later = uint32(bound(later, 1, 1_000));
        vm.warp(uint256(window + later) * WINDOW);
        assertEq(access.useHeadroom(GPUS, window, developer), 0);
        bytes memory reason =
            abi.encodeWithSelector(IAccess.WindowNotOpen.selector, window, window + later, window + later + HORIZON);
        _refuse(provider, id, developer, 1, reason);
    }

    function testGrantOfALapsedAsset() public {
        skipTo(EXPIRES - HORIZON * WINDOW);
        id = open(asset, access.currentWindow() + HORIZON, 0);
        grant(id, developer, 1);
        skipTo(EXPIRES);
        bytes memory reason = abi.encodeWithSelector(IAccess.AssetNotLive.selector, asset);
        _refuse(provider, id, developer, 1, reason);
    }

    function testGrantToNoActiveMember(address to) public {
        vm.assume(to != address(0) && !isMember(to));
        _refuse(provider, id, to, 1, abi.encodeWithSelector(IAccess.NotActiveMember.selector, to));
    }

    function testGrantToAGroupOverItsHoldingLimit() public {
        registerMachine(developer, MOST_HELD);
        registerMachine(affiliate, MOST_HELD);
        attach(affiliate, developer);
        assertEq(access.useHeadroom(GPUS, window, developer), 0);
        _refuse(provider, id, affiliate, 1, abi.encodeWithSelector(IAccess.HoldsOverLimit.selector, GPUS, developer));
    }

    function _refuse(address sender, uint256 id_, address to, uint64 amount, bytes memory reason) private {
        vm.prank(sender);
        vm.expectRevert(reason);
        access.grant(id_, to, amount);
    }
}
