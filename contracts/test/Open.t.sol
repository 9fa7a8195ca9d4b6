// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Access} from "../src/Access.sol";
import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {ZeroAddress} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

/// forge-config: default.fuzz.runs = 200
contract OpenTest is Base {
    uint256 internal asset;

    function setUp() public override {
        super.setUp();
        asset = registerMachine(provider, 8 * GPU);
    }

    function testOpen(uint32 ahead, uint32 tranche, uint128 price) public {
        uint32 window = access.currentWindow() + uint32(bound(ahead, 0, HORIZON));
        uint256 id = access.creditId(asset, window, tranche);
        assertEq(id, (asset * 2 ** 32 + window) * 2 ** 32 + tranche);

        vm.expectEmit(address(access));
        emit IAccess.Opened(id, asset, window, tranche, price);
        vm.prank(provider);
        assertEq(access.open(asset, window, tranche, price), id);

        (bool isOpen, uint128 stored) = access.priceOf(id);
        assertTrue(isOpen);
        assertEq(stored, price);
    }

    function testOpenNoOpenWindow(uint32 window) public {
        uint32 current = access.currentWindow();
        vm.assume(window < current || window > current + HORIZON);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IAccess.WindowNotOpen.selector, window, current, current + HORIZON));
        access.open(asset, window, 0, 0);
    }

    function testOpenTwice(uint32 tranche, uint128 price, uint128 other) public {
        uint32 window = access.currentWindow();
        vm.startPrank(provider);
        uint256 id = access.open(asset, window, tranche, price);
        vm.expectRevert(abi.encodeWithSelector(IAccess.AlreadyOpen.selector, id));
        access.open(asset, window, tranche, other);
    }

    function testOpenByAnotherThanTheOperator(address sender, uint256 other) public {
        vm.assume(sender != provider && sender != address(0) && other != asset);
        uint32 window = access.currentWindow();
        vm.prank(sender);
        vm.expectRevert(abi.encodeWithSelector(IAccess.NotOperator.selector, sender, asset));
        access.open(asset, window, 0, 0);
        // Also an id with the asset's low bits: nothing is cut off on the way to the credit's id.
        vm.startPrank(provider);
        vm.expectRevert(abi.encodeWithSelector(IAccess.NotOperator.selector, provider, other));
        access.open(other, window, 0, 0);
        other = asset + (1 << 192);
        vm.expectRevert(abi.encodeWithSelector(IAccess.NotOperator.selector, provider, other));
        access.open(other, window, 0, 0);
    }

    /* CONSTRUCTOR */

    function testConstructorBadWindows(uint32 windowSeconds, uint32 horizon) public {
        windowSeconds = uint32(bound(windowSeconds, 1_000_001, type(uint32).max));
        horizon = uint32(bound(horizon, 85, type(uint32).max)); // 3 classes x 86 windows are more than 256
        _refuse(windowSeconds, HORIZON);
        _refuse(0, HORIZON);
        _refuse(WINDOW, horizon);
        new Access(1_000_000, 84, address(coin), address(members), address(ledger), address(meter));
    }

    function testConstructorZeroAddress() public {
        for (uint256 i; i < 4; ++i) {
            vm.expectRevert(ZeroAddress.selector);
            new Access(
                WINDOW,
                HORIZON,
                i == 0 ? address(0) : address(coin),
                i == 1 ? address(0) : address(members),
                i == 2 ? address(0) : address(ledger),
                i == 3 ? address(0) : address(meter)
            );
        }
    }

    function _refuse(uint32 windowSeconds, uint32 horizon) private {
        vm.expectRevert(abi.encodeWithSelector(IAccess.BadWindows.selector, windowSeconds, horizon, 3));
        new Access(windowSeconds, horizon, address(coin), address(members), address(ledger), address(meter));
    }
}

/// A group that has acquired in every class and window there can be is still joined to another in one transaction.
/// forge-config: default.fuzz.runs = 200
contract OpenEverywhereTest is Base {
    uint256 internal constant CLASSES = 32;
    uint32 internal constant WINDOWS = 8; // 32 x 8 = 256, the most that Access allows

    function classParams() internal pure override returns (ILedger.ClassParams[] memory classes) {
        classes = new ILedger.ClassParams[](CLASSES);
        for (uint256 i; i < CLASSES; ++i) {
            classes[i] = super.classParams()[0];
            classes[i].name = vm.toString(i);
        }
    }

    function horizon() internal pure override returns (uint32) {
        return WINDOWS - 1;
    }

    /// forge-config: default.isolate = true
    function testAttachAfterAcquiringEverywhere() public {
        for (uint256 i; i < CLASSES; ++i) {
            ILedger.Appraisal memory a = machine(GPU);
            a.classId = ledger.classIds()[i];
            uint256 asset = register(a, oneShare(affiliate, GPU));
            for (uint32 w; w < WINDOWS; ++w) {
                grant(open(asset, access.currentWindow() + w, 0), affiliate, 1);
            }
        }

        attach(affiliate, provider);

        assertLt(vm.lastCallGas().gasTotalUsed, 8_500_000); // half of what EIP-7825 allows a transaction
        assertEq(ledger.heldBy(ledger.classIds()[CLASSES - 1], provider), GPU);
        uint32 last = access.currentWindow() + WINDOWS - 1;
        assertEq(access.acquiredBy(ledger.classIds()[CLASSES - 1], last, provider), 1);
    }
}
