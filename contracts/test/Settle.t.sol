// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMeter} from "../src/interfaces/IMeter.sol";
import {Base} from "./Base.t.sol";

/// Fewer runs than elsewhere: two P-256 signatures are made and checked in each.
/// forge-config: default.fuzz.runs = 200
/// forge-config: deep.fuzz.runs = 2000
contract SettleTest is Base {
    uint64 internal constant AMOUNT = 100_000; // seconds of the lease
    uint128 internal constant PRICE = 7;

    uint256 internal asset;
    bytes32 internal lease;
    uint32 internal window;
    uint256 internal end; // of the window

    function setUp() public override {
        super.setUp();
        window = access.currentWindow();
        end = (uint256(window) + 1) * WINDOW;
        (asset, lease) = leased(8 * GPU, AMOUNT, PRICE);
    }

    /// Time only grows; each settlement pays the difference, rounded down once over the whole lease.
    function testSettle(uint64 first, uint64 second) public {
        first = uint64(bound(first, 1, AMOUNT * 1000 - 1));
        second = uint64(bound(second, first + 1, AMOUNT * 1000));
        vm.warp(START + AMOUNT);

        uint256 paid = uint256(first) * PRICE / 1000;
        IMeter.SignedReceipt[] memory list = batch(receipt(lease, first));
        _expectSettled(first, first, paid);
        vm.prank(relayer);
        meter.settle(list);
        uint256 due = uint256(second) * PRICE / 1000;
        list = batch(receipt(lease, second));
        _expectSettled(second, second - first, due - paid);
        meter.settle(list);

        assertEq(meter.settledMs(lease), second);
        assertEq(access.leaseOf(lease).gpuMs, second);
        assertEq(meter.deliveredMs(GPUS, window, developer, 4), second);
        assertEq(_accrued(), due);
        assertEq(coin.balanceOf(address(access)), uint256(AMOUNT) * PRICE, "in escrow until it is claimed");
    }

    function testSettleGranted(uint64 gpuMs) public {
        gpuMs = uint64(bound(gpuMs, 1, AMOUNT * 1000));
        (, lease) = leased(8 * GPU, AMOUNT, 0);
        vm.warp(START + AMOUNT);
        IMeter.SignedReceipt[] memory list = batch(receipt(lease, gpuMs));

        _expectSettled(gpuMs, gpuMs, 0);
        meter.settle(list);

        assertEq(_accrued(), 0);
    }

    /// An older or equal receipt changes nothing, whatever stands under it, and costs the batch nothing.
    function testSettleStaleReceipts(uint64 gpuMs, uint64 older, bytes32 junk) public {
        gpuMs = uint64(bound(gpuMs, 1, AMOUNT * 1000));
        older = uint64(bound(older, 0, gpuMs));
        (, bytes32 other) = leased(8 * GPU, AMOUNT, 0);
        vm.warp(START + AMOUNT);
        settle(lease, gpuMs);

        IMeter.SignedReceipt[] memory list = new IMeter.SignedReceipt[](3);
        list[0] = IMeter.SignedReceipt(IMeter.Receipt(lease, older, junk), 9, junk, junk, junk, junk);
        list[1] = receipt(other, gpuMs);
        list[2] = receipt(other, gpuMs);
        meter.settle(list);

        assertEq(meter.settledMs(lease), gpuMs);
        assertEq(meter.settledMs(other), gpuMs);
        assertEq(meter.deliveredMs(GPUS, window, developer, 4), 2 * uint256(gpuMs));
        assertEq(_accrued(), uint256(gpuMs) * PRICE / 1000);
    }

    /// Revenue is counted once for each run of receipts of one asset.
    function testSettleABatchOfSeveralAssets(uint64[4] memory gpuMs) public {
        (uint256 other, bytes32 ofOther) = leased(8 * GPU, AMOUNT, PRICE);
        IMeter.SignedReceipt[] memory list = new IMeter.SignedReceipt[](4);
        uint256[2] memory due;
        for (uint256 i; i < 4; ++i) {
            gpuMs[i] = uint64(bound(gpuMs[i], (i + 1) * 1000, (i + 2) * 1000 - 1));
            list[i] = receipt(i == 2 ? ofOther : lease, gpuMs[i]);
            due[i == 2 ? 1 : 0] = uint256(gpuMs[i]) * PRICE / 1000;
        }
        vm.warp(START + AMOUNT);
        vm.recordLogs();

        meter.settle(list);

        Vm.Log[] memory logs = vm.getRecordedLogs();
        uint256[3] memory order = [asset, other, asset];
        uint256 runs;
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] != ILedger.Accrued.selector) continue;
            assertEq(uint256(logs[i].topics[1]), order[runs++]);
        }
        assertEq(runs, 3);
        assertEq(_accrued(), due[0] + due[1]);
        assertApproxEqAbs(ledger.revenueOf(asset, provider), due[0], 1);
        assertApproxEqAbs(ledger.revenueOf(other, provider), due[1], 1);
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
    function testSettleOverWallClock(uint64 units, uint32 elapsed, uint64 gpuMs) public {
        units = uint64(bound(units, 1e6 * uint64(AMOUNT) / WINDOW + 1, 1_000 * GPU));
        elapsed = uint32(bound(elapsed, 0, end + SETTLE_DELAY - START));
        (, lease) = leased(units, AMOUNT, 0);
        // The clock stops with the window: what ran after it was not of this lease.
        uint256 most = (START + elapsed < end ? elapsed : end - START) * units / 1000;
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
        vm.warp(startsAt);
        _refuse(1, abi.encodeWithSelector(IMeter.OverWallClock.selector, lease, 1, 0));
        vm.warp(startsAt + 1);
        settle(lease, 8_000); // eight GPUs, all of the time there was
    }

    function testSettleTooLate(uint256 later) public {
        uint256 until = end + SETTLE_DELAY;
        later = bound(later, until + 1, until + 1_000 weeks);
        skipTo(until);
        settle(lease, 1);
        skipTo(later);
        _refuse(2, abi.encodeWithSelector(IMeter.TooLate.selector, lease, until, later));
    }

    /// What was refunded is never paid as well.
    function testSettleARefundedLease() public {
        skipTo(end + SETTLE_DELAY + 1);
        access.refund(lease);
        bytes memory reason =
            abi.encodeWithSelector(IMeter.TooLate.selector, lease, end + SETTLE_DELAY, end + SETTLE_DELAY + 1);
        _refuse(1, reason);
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

    /// The meter key that counts is the present appraisal's; settle before it is rotated.
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
        ++a.expiresAt;
        ledger.renew(other, a, appraised(a));

        _refuse(before + 1, abi.encodeWithSelector(IMeter.BadNodeSignature.selector, 0));
        meter.settle(batch(signed(IMeter.Receipt(lease, before + 1, "head"), 0x33, SESSION_KEY)));

        assertEq(meter.deliveredMs(GPUS, window, developer, 4), before + 1);
    }

    /// The lower of the level that the lease was made at and the present one: what was measured badly is never called
    /// better afterwards, nor the other way round.
    function testSettleAtTheLowerLevel(uint8 before, uint8 since, uint64 gpuMs) public {
        before = uint8(bound(before, 3, 5));
        since = uint8(bound(since, 3, 5));
        gpuMs = uint64(bound(gpuMs, 1, AMOUNT * 1000));
        ILedger.Appraisal memory a = machine(8 * GPU);
        a.level = before;
        asset = register(a, noShares());
        uint256 id = open(asset, window, 0);
        grant(id, developer, AMOUNT);
        lease = redeem(developer, id, AMOUNT);
        (a.level, a.expiresAt) = (since, a.expiresAt + 1);
        ledger.renew(asset, a, appraised(a));
        vm.warp(START + AMOUNT);

        settle(lease, gpuMs);

        assertEq(access.leaseOf(lease).level, before);
        assertEq(meter.deliveredMs(GPUS, window, developer, before < since ? before : since), gpuMs);
    }

    /// A session key that was replaced proves what could be used until an hour later, and the new one all of it.
    function testSettleByAFormerKey(uint256 rotated, uint256 when, uint64 gpuMs) public {
        rotated = bound(rotated, START, end - 1);
        when = bound(when, rotated, end + SETTLE_DELAY);
        skipTo(rotated);
        rotate(lease, 0x33);
        skipTo(when);
        uint256 until = rotated + 1 hours;
        if (when < until) until = when;
        if (end < until) until = end;
        uint256 most = (until - START) * 8 * 1000;
        gpuMs = uint64(bound(gpuMs, 1, AMOUNT * 1000));
        IMeter.SignedReceipt[] memory list = batch(receipt(lease, gpuMs));

        list[0].keyNumber = 0;
        if (gpuMs > most) {
            _refuse(list, abi.encodeWithSelector(IMeter.OverWallClock.selector, lease, gpuMs, most));
        } else {
            meter.settle(list);
            assertEq(meter.settledMs(lease), gpuMs);
        }
    }

    function testSettleByTheNewKey(uint64 gpuMs) public {
        gpuMs = uint64(bound(gpuMs, 1, AMOUNT * 1000));
        rotate(lease, 0x33);
        skipTo(end + SETTLE_DELAY);
        IMeter.SignedReceipt[] memory list = batch(receiptBy(0x33, lease, gpuMs));
        list[0].keyNumber = 0;
        bytes memory reason = gpuMs > 1 hours * 8 * 1000
            ? abi.encodeWithSelector(IMeter.OverWallClock.selector, lease, gpuMs, 1 hours * 8 * 1000)
            : abi.encodeWithSelector(IMeter.BadSessionSignature.selector, 0);
        _refuse(list, reason);
        list[0].keyNumber = 1;

        meter.settle(list);

        assertEq(meter.settledMs(lease), gpuMs);
    }

    function testSettleByNoKey(uint16 number) public {
        vm.assume(number != 0);
        vm.warp(START + AMOUNT);
        IMeter.SignedReceipt[] memory list = batch(receipt(lease, 1));
        list[0].keyNumber = number;
        _refuse(list, abi.encodeWithSelector(IAccess.UnknownKey.selector, lease, number));
    }

    /// A key that was replaced before the window began proves nothing in it.
    function testSettleByAKeyReplacedBeforeTheLeaseBegan() public {
        uint256 id = open(asset, window + 1, 0);
        grant(id, developer, 10);
        lease = redeem(developer, id, 10);
        rotate(lease, 0x33);
        skipTo(end + 10);
        IMeter.SignedReceipt[] memory list = batch(receipt(lease, 1));
        list[0].keyNumber = 0;
        _refuse(list, abi.encodeWithSelector(IMeter.OverWallClock.selector, lease, 1, 0));
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

    /// A lost key's time still counts, and counts for the group that stands in its place.
    function testSettleAfterARecovery() public {
        address successor = _actor("successor");
        recover(developer, successor);

        settle(lease, 1000);

        assertEq(meter.deliveredMs(GPUS, window, successor, 4), 1000);
    }

    function _expectSettled(uint64 gpuMs, uint64 addedMs, uint256 paid) private {
        vm.expectEmit(address(meter));
        emit IMeter.Settled(
            lease, GPUS, developer, window, 4, gpuMs, addedMs, paid, keccak256(abi.encode(lease, gpuMs))
        );
        if (paid > 0) {
            vm.expectEmit(address(ledger));
            emit ILedger.Accrued(access.leaseOf(lease).id >> 64, paid);
        }
    }

    function _accrued() private view returns (uint256 accrued) {
        (accrued,) = ledger.revenueTotals();
    }

    function _refuse(uint64 gpuMs, bytes memory reason) private {
        _refuse(batch(receipt(lease, gpuMs)), reason);
    }

    function _refuse(IMeter.SignedReceipt[] memory list, bytes memory reason) private {
        vm.expectRevert(reason);
        meter.settle(list);
    }
}
