// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {Coin} from "../src/dev/Coin.sol";
import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMeter} from "../src/interfaces/IMeter.sol";
import {Base} from "./Base.t.sol";

/// A payment token that calls whoever it is told to, in the middle of a transfer.
contract HookCoin is Coin {
    address private _target;
    bytes private _call;

    constructor() Coin("Hook", "HOOK", msg.sender, 0) {}

    function arm(address target, bytes calldata call_) external {
        (_target, _call) = (target, call_);
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (_target == address(0)) return;
        (bool ok, bytes memory reason) = _target.call(_call);
        if (!ok) {
            assembly ("memory-safe") {
                revert(add(reason, 32), mload(reason))
            }
        }
    }
}

/// forge-config: default.fuzz.runs = 200
contract SettleTest is Base {
    uint64 internal constant AMOUNT = 100_000; // seconds of the lease
    uint128 internal constant PRICE = 7;

    uint256 internal asset;
    bytes32 internal lease;
    uint32 internal window;

    function setUp() public override {
        super.setUp();
        window = access.currentWindow();
        (asset, lease) = leased(8 * GPU, AMOUNT, PRICE);
    }

    /// Time only grows; each settlement pays the difference, rounded down once over the whole lease.
    /// forge-config: default.fuzz.runs = 1000
    function testSettle(uint64 first, uint64 second) public {
        first = uint64(bound(first, 1, AMOUNT * 1000 - 1));
        second = uint64(bound(second, first + 1, AMOUNT * 1000));
        vm.warp(START + AMOUNT);

        _expectSettled(first, first, uint256(first) * PRICE / 1000);
        vm.prank(relayer);
        settle(lease, first);
        uint256 due = uint256(second) * PRICE / 1000;
        _expectSettled(second, second - first, due - coin.balanceOf(provider));
        settle(lease, second);

        assertEq(meter.settledMs(lease), second);
        assertEq(meter.deliveredMs(GPUS, window, developer, 4), second);
        assertEq(access.leaseOf(lease).paid, due);
        assertEq(coin.balanceOf(provider), due);
        assertEq(coin.balanceOf(address(access)), uint256(AMOUNT) * PRICE - due);
    }

    function testSettleGranted(uint64 gpuMs) public {
        gpuMs = uint64(bound(gpuMs, 1, AMOUNT * 1000));
        (, lease) = leased(8 * GPU, AMOUNT, 0);
        vm.warp(START + AMOUNT);
        uint256 escrow = coin.balanceOf(address(access));

        _expectSettled(gpuMs, gpuMs, 0);
        settle(lease, gpuMs);

        assertEq(coin.balanceOf(address(access)), escrow);
    }

    /// An older or equal receipt changes nothing, whatever stands under it, and costs the batch nothing.
    function testSettleStaleReceipts(uint64 gpuMs, uint64 older, bytes32 junk) public {
        gpuMs = uint64(bound(gpuMs, 1, AMOUNT * 1000));
        older = uint64(bound(older, 0, gpuMs));
        (, bytes32 other) = leased(8 * GPU, AMOUNT, 0);
        vm.warp(START + AMOUNT);
        settle(lease, gpuMs);

        IMeter.SignedReceipt[] memory list = new IMeter.SignedReceipt[](3);
        list[0] = IMeter.SignedReceipt(IMeter.Receipt(lease, older, junk), junk, junk, junk, junk);
        list[1] = receipt(other, gpuMs);
        list[2] = receipt(other, gpuMs);
        meter.settle(list);

        assertEq(meter.settledMs(lease), gpuMs);
        assertEq(meter.settledMs(other), gpuMs);
        assertEq(meter.deliveredMs(GPUS, window, developer, 4), 2 * uint256(gpuMs));
        assertEq(coin.balanceOf(provider), uint256(gpuMs) * PRICE / 1000);
    }

    /// Else its Settled event would come before the one of the receipt that is being paid.
    function testSettleInsideASettlement() public {
        vm.warp(START + AMOUNT);
        vm.etch(address(coin), address(new HookCoin()).code);
        IMeter.SignedReceipt[] memory later = new IMeter.SignedReceipt[](1);
        later[0] = receipt(lease, 2_000);
        HookCoin(address(coin)).arm(address(meter), abi.encodeCall(IMeter.settle, (later)));

        IMeter.SignedReceipt[] memory list = new IMeter.SignedReceipt[](1);
        list[0] = receipt(lease, 1_000);
        vm.expectRevert(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        meter.settle(list);

        HookCoin(address(coin)).arm(address(0), "");
        meter.settle(list);
        assertEq(meter.settledMs(lease), 1_000);
    }

    function testSettleNothing() public {
        meter.settle(new IMeter.SignedReceipt[](0));
    }

    function testSettleOverTheLease(uint64 gpuMs) public {
        gpuMs = uint64(bound(gpuMs, AMOUNT * 1000 + 1, type(uint64).max));
        vm.warp(START + AMOUNT);
        _refuse(gpuMs, abi.encodeWithSelector(IMeter.OverLease.selector, lease, gpuMs, AMOUNT * 1000));
    }

    /// Not a millisecond more than the machine's GPUs had time for, to the last of its fractions.
    /// forge-config: default.fuzz.runs = 1000
    function testSettleOverWallClock(uint64 units, uint32 elapsed, uint64 gpuMs) public {
        units = uint64(bound(units, 1e6 * uint64(AMOUNT) / WINDOW + 1, 1_000 * GPU));
        elapsed = uint32(bound(elapsed, 0, 52 weeks));
        (, lease) = leased(units, AMOUNT, 0);
        uint256 most = uint256(elapsed) * units / 1000;
        gpuMs = uint64(bound(gpuMs, 1, AMOUNT * 1000));
        vm.warp(START + elapsed);

        if (gpuMs > most) {
            _refuse(gpuMs, abi.encodeWithSelector(IMeter.OverWallClock.selector, lease, gpuMs, most));
        } else {
            settle(lease, gpuMs);
            assertEq(meter.settledMs(lease), gpuMs);
        }
    }

    function testSettleBeforeTheLeaseStarts(uint48 early) public {
        uint256 id = open(asset, window + 1, 0);
        grant(id, developer, 10);
        lease = redeem(developer, id, 10);
        uint48 startsAt = uint48(window + 1) * WINDOW;
        assertEq(access.leaseOf(lease).startsAt, startsAt);
        early = uint48(bound(early, START, startsAt - 1));
        vm.warp(early);
        _refuse(1, abi.encodeWithSelector(IMeter.NotStarted.selector, lease, startsAt, early));
    }

    function testSettleUnknownLease(bytes32 other, uint64 gpuMs) public {
        vm.assume(other != lease && gpuMs > 0);
        lease = other;
        _refuse(gpuMs, abi.encodeWithSelector(IMeter.UnknownLease.selector, other));
    }

    function testSettleWithoutOneOfTheSignatures(uint256 key) public {
        key = bound(key, 1, P256_N - 1);
        vm.assume(key != METER_KEY && key != SESSION_KEY);
        vm.warp(START + AMOUNT);
        IMeter.Receipt memory r = IMeter.Receipt(lease, 1000, "head");
        IMeter.SignedReceipt[] memory list = new IMeter.SignedReceipt[](2);
        list[0] = receipt(lease, 1);

        list[1] = signed(r, key, SESSION_KEY);
        _refuse(list, abi.encodeWithSelector(IMeter.BadNodeSignature.selector, 1));
        list[1] = signed(r, METER_KEY, key);
        _refuse(list, abi.encodeWithSelector(IMeter.BadSessionSignature.selector, 1));
        list[1] = signed(r, SESSION_KEY, METER_KEY);
        _refuse(list, abi.encodeWithSelector(IMeter.BadNodeSignature.selector, 1));
        list[1] = signed(r, METER_KEY, SESSION_KEY);
        meter.settle(list);
    }

    function testSettleAnotherReceiptThanSigned(uint64 gpuMs, bytes32 head) public {
        IMeter.SignedReceipt memory s = receipt(lease, 1000);
        vm.assume(head != s.receipt.head);
        vm.warp(START + AMOUNT);
        s.receipt.gpuMs = uint64(bound(gpuMs, 1001, AMOUNT * 1000));
        _refuse(batch(s), abi.encodeWithSelector(IMeter.BadNodeSignature.selector, 0));
        (s.receipt.gpuMs, s.receipt.head) = (1000, head);
        _refuse(batch(s), abi.encodeWithSelector(IMeter.BadNodeSignature.selector, 0));
    }

    /// (r, n - s) is as good to the curve, and refused: one receipt has one pair of signatures.
    function testSettleHighS() public {
        vm.warp(START + AMOUNT);
        IMeter.SignedReceipt memory s = receipt(lease, 1000);
        s.nodeS = bytes32(P256_N - uint256(s.nodeS));
        _refuse(batch(s), abi.encodeWithSelector(IMeter.BadNodeSignature.selector, 0));
    }

    function testSettleReceiptOfAnotherDomain(uint64 chainId) public {
        vm.assume(chainId != block.chainid && chainId != 0);
        vm.warp(START + AMOUNT);
        IMeter.SignedReceipt memory s = receipt(lease, 1000);
        vm.chainId(chainId);
        _refuse(batch(s), abi.encodeWithSelector(IMeter.BadNodeSignature.selector, 0));
    }

    function testSettleOfAnAssetWithoutAMeterKey() public {
        asset = register(dataset(8 * GPU), noShares());
        uint256 id = open(asset, window, 0);
        grant(id, developer, 10);
        lease = redeem(developer, id, 10);
        vm.warp(START + AMOUNT);
        _refuse(1000, abi.encodeWithSelector(IMeter.BadNodeSignature.selector, 0));
        IMeter.SignedReceipt memory s = receipt(lease, 1000);
        (s.nodeR, s.nodeS) = (0, 0);
        _refuse(batch(s), abi.encodeWithSelector(IMeter.BadNodeSignature.selector, 0));
    }

    /// The key that counts is the present appraisal's, and so is the level; settle before a key is rotated.
    function testSettleAfterTheMeterKeyIsRotated(uint64 before) public {
        before = uint64(bound(before, 1, AMOUNT * 1000 - 1));
        ILedger.Appraisal memory a = machine(8 * GPU);
        uint256 other = register(a, noShares());
        uint256 id = open(other, window, 0);
        grant(id, developer, AMOUNT);
        lease = redeem(developer, id, AMOUNT);
        vm.warp(START + AMOUNT);
        settle(lease, before);
        (a.meterKeyX, a.meterKeyY) = publicKey(0x33);
        (a.level, a.expiresAt) = (5, a.expiresAt + 1);
        ledger.renew(other, a, appraised(a));

        _refuse(before + 1, abi.encodeWithSelector(IMeter.BadNodeSignature.selector, 0));
        meter.settle(batch(signed(IMeter.Receipt(lease, before + 1, "head"), 0x33, SESSION_KEY)));

        assertEq(meter.deliveredMs(GPUS, window, developer, 4), before);
        assertEq(meter.deliveredMs(GPUS, window, developer, 5), 1);
    }

    function testSettleCountsForTheGroup() public {
        attach(developer, affiliate);
        vm.warp(START + AMOUNT);

        settle(lease, 1000);

        assertEq(meter.deliveredMs(GPUS, window, affiliate, 4), 1000);
        assertEq(meter.deliveredMs(GPUS, window, developer, 4), 0);
    }

    /// Where the chain lacks the precompile of EIP-7951, the same signatures are checked in Solidity.
    /// forge-config: default.evm_version = "prague"
    function testSettleWithoutThePrecompile() public {
        vm.warp(START + AMOUNT);
        IMeter.SignedReceipt memory s = receipt(lease, 1000);
        bytes32 digest = meter.receiptDigest(s.receipt);
        (bytes32 x, bytes32 y) = publicKey(METER_KEY);
        (, bytes memory answer) = address(0x100).staticcall(abi.encode(digest, s.nodeR, s.nodeS, x, y));
        assertEq(answer.length, 0, "the precompile is there");

        meter.settle(batch(s));

        assertEq(meter.settledMs(lease), 1000);
    }

    /* RELEASE */

    function testReleaseOnlyMeter(address sender, uint64 gpuMs) public {
        vm.assume(sender != address(meter));
        vm.prank(sender);
        vm.expectRevert(abi.encodeWithSelector(IAccess.OnlyMeter.selector, sender));
        access.release(lease, gpuMs);
    }

    function testReleaseUnknownLease(bytes32 other) public {
        vm.assume(other != lease);
        vm.prank(address(meter));
        vm.expectRevert(abi.encodeWithSelector(IAccess.UnknownLease.selector, other));
        access.release(other, 1);
    }

    function _expectSettled(uint64 gpuMs, uint64 addedMs, uint256 paid) private {
        if (paid > 0) {
            vm.expectEmit(address(access));
            emit IAccess.Released(lease, provider, paid);
        }
        vm.expectEmit(address(meter));
        emit IMeter.Settled(
            lease, GPUS, developer, window, 4, gpuMs, addedMs, paid, keccak256(abi.encode(lease, gpuMs))
        );
    }

    function _refuse(uint64 gpuMs, bytes memory reason) private {
        _refuse(batch(receipt(lease, gpuMs)), reason);
    }

    function _refuse(IMeter.SignedReceipt[] memory list, bytes memory reason) private {
        vm.expectRevert(reason);
        meter.settle(list);
    }
}
