// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Access} from "../src/Access.sol";
import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {NotSelf, System, ZeroAddress} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

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

    /// Whoever has a key that was lost sells nothing off, also before the asset is recovered.
    function testOpenByAReplacedOperator(uint128 price) public {
        uint32 window = access.currentWindow();
        recover(provider, stranger);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IMembers.Replaced.selector, provider, stranger));
        access.open(asset, window, 0, price);

        uint256[] memory assets = new uint256[](1);
        assets[0] = asset;
        ledger.recover(provider, assets);
        vm.prank(stranger);
        access.open(asset, window, 0, price);
    }

    function testOpenALapsedAsset(uint32 ahead) public {
        ahead = uint32(bound(ahead, 0, HORIZON));
        uint32 last = access.currentWindow() + ahead;
        vm.prank(provider);
        access.open(asset, last, 0, 0);
        skipTo(EXPIRES);
        uint32 window = access.currentWindow();
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IAccess.AssetNotLive.selector, asset));
        access.open(asset, window, 0, 0);
    }

    /* CONSTRUCTOR */

    function testConstructor() public {
        Access made = _make(1_000_000, 31, SETTLE_DELAY); // 8 classes x 32 windows are 256
        assertEq(made.windowSeconds(), 1_000_000);
        assertEq(made.horizon(), 31);
        assertEq(made.settleDelay(), SETTLE_DELAY);
        assertEq(made.members(), system.members);
        assertEq(made.ledger(), system.ledger);
        assertEq(made.meter(), system.meter);
        assertEq(made.token(), system.token);
    }

    function testConstructorBadWindows(uint32 windowSeconds, uint32 horizon) public {
        windowSeconds = uint32(bound(windowSeconds, 1_000_001, type(uint32).max));
        horizon = uint32(bound(horizon, 32, type(uint32).max)); // 8 classes x 33 windows are more than 256
        _refuse(windowSeconds, HORIZON);
        _refuse(0, HORIZON);
        _refuse(WINDOW, horizon);
    }

    function testConstructorBadSettleDelay(uint48 delay) public {
        bytes4 reason = IAccess.BadSettleDelay.selector;
        uint48 low = uint48(bound(delay, 0, 1 hours - 1));
        uint48 high = uint48(bound(delay, 30 days + 1, type(uint48).max));
        System memory own = _system();
        vm.expectRevert(abi.encodeWithSelector(reason, low, 1 hours, 30 days));
        new Access(WINDOW, HORIZON, low, own);
        own = _system();
        vm.expectRevert(abi.encodeWithSelector(reason, high, 1 hours, 30 days));
        new Access(WINDOW, HORIZON, high, own);
    }

    function testConstructorAtTheBounds() public {
        assertEq(_make(1, 0, 1 hours).settleDelay(), 1 hours);
        assertEq(_make(1_000_000, 31, 30 days).settleDelay(), 30 days);
    }

    function testConstructorZeroAddress() public {
        System memory own = _system();
        own.meter = address(0);
        vm.expectRevert(ZeroAddress.selector);
        new Access(WINDOW, HORIZON, SETTLE_DELAY, own);
    }

    function testConstructorElsewhere(address elsewhere) public {
        vm.assume(elsewhere != address(0));
        System memory other = system;
        other.access = elsewhere;
        address self = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        vm.assume(self != elsewhere);
        vm.expectRevert(abi.encodeWithSelector(NotSelf.selector, elsewhere, self));
        new Access(WINDOW, HORIZON, SETTLE_DELAY, other);
    }

    function _make(uint32 windowSeconds, uint32 horizon, uint48 delay) private returns (Access) {
        return new Access(windowSeconds, horizon, delay, _system());
    }

    function _refuse(uint32 windowSeconds, uint32 horizon) private {
        System memory own = _system();
        vm.expectRevert(abi.encodeWithSelector(IAccess.BadWindows.selector, windowSeconds, horizon, maxClasses()));
        new Access(windowSeconds, horizon, SETTLE_DELAY, own);
    }

    /// The deployment, and a second Access where the next contract of this one comes to be.
    function _system() private view returns (System memory own) {
        own = system;
        own.access = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
    }
}

/// A group that has acquired in every class and window there can be is still joined to another in one transaction.
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

    function maxClasses() internal pure override returns (uint256) {
        return CLASSES;
    }

    function horizon() internal pure override returns (uint32) {
        return WINDOWS - 1;
    }

    /// Ocean's escrow costs more with each open lock, without end: here the cost is bounded.
    /// forge-config: default.isolate = true
    function testAttachAfterAcquiringEverywhere() public {
        _acquireEverywhere();

        attach(affiliate, provider);

        assertLt(vm.lastCallGas().gasTotalUsed, 8_500_000); // half of what EIP-7825 allows a transaction
        assertEq(ledger.heldBy(ledger.classIds()[CLASSES - 1], provider), GPU);
        uint32 last = access.currentWindow() + WINDOWS - 1;
        assertEq(access.acquiredBy(ledger.classIds()[CLASSES - 1], last, provider), 1);

        startDetach(affiliate);
        skipTo(block.timestamp + DETACH_DELAY);
        members.completeDetach(affiliate);

        assertLt(vm.lastCallGas().gasTotalUsed, 8_500_000);
        assertEq(access.acquiredBy(ledger.classIds()[CLASSES - 1], last, provider), 0);
        startRecovery(affiliate, stranger);
        skipTo(block.timestamp + RECOVERY_DELAY); // still in the same windows
        members.completeRecovery(affiliate);

        assertLt(vm.lastCallGas().gasTotalUsed, 8_500_000);
        assertEq(access.acquiredBy(ledger.classIds()[CLASSES - 1], last, stranger), 1);
    }

    /// A controller can join others to make a departure dearer: below ten it still fits one transaction (EIP-7825), at most.
    /// forge-config: default.isolate = true
    function testDetachBelowTenControllers() public {
        _acquireEverywhere();
        attach(affiliate, provider);
        address root = provider;
        for (uint256 i; i < 9; ++i) {
            address next = _actor(vm.toString(i));
            admit(next);
            attach(root, next);
            root = next;
        }
        assertEq(members.pathOf(affiliate).length, 11);
        startDetach(affiliate);
        skipTo(block.timestamp + DETACH_DELAY);

        members.completeDetach(affiliate);

        assertLt(vm.lastCallGas().gasTotalUsed, 1 << 24);
        assertEq(ledger.heldBy(ledger.classIds()[CLASSES - 1], root), 0);
        assertEq(access.acquiredBy(ledger.classIds()[CLASSES - 1], access.currentWindow(), root), 0);
    }

    function _acquireEverywhere() private {
        for (uint256 i; i < CLASSES; ++i) {
            ILedger.Appraisal memory a = machine(GPU);
            a.classId = ledger.classIds()[i];
            uint256 asset = register(a, oneShare(affiliate, GPU));
            for (uint32 w; w < WINDOWS; ++w) {
                grant(open(asset, access.currentWindow() + w, 0), affiliate, 1);
            }
        }
    }
}
