// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IQuorum} from "../src/interfaces/IQuorum.sol";
import {ISettings} from "../src/interfaces/ISettings.sol";
import {Base} from "./Base.t.sol";

/// The timelock itself is in Propose: here it is the sender.
contract SettingsTest is Base {
    bytes32 internal constant HOLD = "holdBps";
    bytes32 internal constant USE = "useBps";
    bytes32 internal constant LEVEL = "minLevel";
    bytes32 internal constant FLOORS = "floorUnits";
    bytes32 internal constant QUORUM = "threshold";
    bytes32 internal constant DAILY = "admissionsPerDay";

    /* WHAT THERE IS */

    function testSettingsOfMembers() public view {
        (bytes32[] memory names, bytes32[] memory subjects) = members.settings();
        assertEq(names.length, 2);
        assertEq(names[0], QUORUM);
        assertEq(names[1], DAILY);
        assertEq(subjects[0], 0);
        assertEq(subjects[1], 0);
    }

    function testSettingsOfTheLedgerAreFourAClassAndTheThreshold() public view {
        (bytes32[] memory names, bytes32[] memory subjects) = ledger.settings();
        assertEq(names.length, 13);
        assertEq(subjects.length, 13);
        uint256 known;
        for (uint256 i; i < names.length; ++i) {
            if (ledger.settingOf(names[i], subjects[i]).max > 0) ++known;
            for (uint256 j; j < i; ++j) {
                assertFalse(names[i] == names[j] && subjects[i] == subjects[j], "listed twice");
            }
        }
        assertEq(known, 13);
    }

    function testSettingOf() public view {
        _check(ledger.settingOf(HOLD, GPUS), HOLD_BPS, 100, 5_000, 500, true);
        _check(ledger.settingOf(USE, GPUS), USE_BPS, 100, 10_000, 500, true);
        _check(ledger.settingOf(LEVEL, GPUS), 3, 0, 5, 1, false);
        _check(ledger.settingOf(QUORUM, 0), 2, 2, 3, 1, false);
        _check(members.settingOf(QUORUM, 0), 2, 2, 3, 1, false);
        _check(members.settingOf(DAILY, 0), ADMISSIONS, 1, 10_000, ADMISSIONS / 2, true);
        ISettings.Setting memory s = ledger.settingOf(FLOORS, GPUS);
        assertEq(s.value, FLOOR);
        assertEq(s.step, FLOOR / 4);
        assertEq(s.max, MAX_UNITS);
    }

    function testUnknownSetting(bytes32 name, bytes32 subject) public {
        vm.assume(name != HOLD && name != USE && name != LEVEL && name != FLOORS && name != DAILY && name != QUORUM);
        vm.assume(name != "signers");
        bytes memory unknown = abi.encodeWithSelector(ISettings.UnknownSetting.selector, name, subject);
        vm.expectRevert(unknown);
        members.settingOf(name, subject);
        vm.expectRevert(unknown);
        ledger.settingOf(name, subject);
        vm.startPrank(system.timelock);
        vm.expectRevert(unknown);
        members.change(name, subject, 1);
        vm.expectRevert(unknown);
        ledger.change(name, subject, 1);
        vm.expectRevert(unknown);
        members.abdicate(name, subject);
    }

    /// A setting of one class is none of another, and none of the contract.
    function testUnknownSubject(bytes32 subject) public {
        vm.assume(subject != GPUS && subject != TEXT && subject != LLM && subject != 0);
        vm.startPrank(system.timelock);
        bytes32[4] memory names = [HOLD, USE, LEVEL, FLOORS];
        for (uint256 i; i < names.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(ISettings.UnknownSetting.selector, names[i], subject));
            ledger.change(names[i], subject, 1);
            vm.expectRevert(abi.encodeWithSelector(ISettings.UnknownSetting.selector, names[i], bytes32(0)));
            ledger.change(names[i], 0, 1);
        }
        vm.expectRevert(abi.encodeWithSelector(ISettings.UnknownSetting.selector, QUORUM, subject));
        members.change(QUORUM, subject, 3);
        vm.expectRevert(abi.encodeWithSelector(ISettings.UnknownSetting.selector, DAILY, subject));
        members.change(DAILY, subject, 99);
        vm.expectRevert(abi.encodeWithSelector(ISettings.UnknownSetting.selector, bytes32("signers"), subject));
        members.abdicate("signers", subject);
    }

    /* TIGHTEN SOON, LOOSEN LATE */

    /// Vault V2 decreaseRelativeCap, increaseRelativeCap: tightening is quick, loosening waits.
    function testTighteningWorksAtOnce(uint16 value) public {
        value = uint16(bound(value, HOLD_BPS - 500, HOLD_BPS - 1));

        vm.expectEmit(address(ledger));
        emit ISettings.SettingChanged(HOLD, GPUS, value);
        change(address(ledger), HOLD, GPUS, value);

        ISettings.Setting memory s = ledger.settingOf(HOLD, GPUS);
        assertEq(s.value, value);
        assertEq(s.pendingAt, 0);
        assertEq(s.nextChangeAt, START + PERIOD);
        assertEq(ledger.classOf(GPUS).holdBps, value);
        assertEq(ledger.classOf(TEXT).holdBps, HOLD_BPS, "no other class");
    }

    function testLooseningWaits(uint16 value, uint48 later) public {
        value = uint16(bound(value, HOLD_BPS + 1, HOLD_BPS + 500));
        later = uint48(bound(later, 0, LOOSEN_DELAY - 1));
        uint48 readyAt = START + LOOSEN_DELAY;

        vm.expectEmit(address(ledger));
        emit ISettings.SettingScheduled(HOLD, GPUS, value, readyAt);
        change(address(ledger), HOLD, GPUS, value);

        ISettings.Setting memory s = ledger.settingOf(HOLD, GPUS);
        assertEq(s.value, HOLD_BPS);
        assertEq(s.pending, value);
        assertEq(s.pendingAt, readyAt);
        vm.warp(START + later);
        vm.expectRevert(abi.encodeWithSelector(ISettings.NotYet.selector, HOLD, readyAt, START + later));
        ledger.enact(HOLD, GPUS);

        vm.warp(readyAt);
        vm.expectEmit(address(ledger));
        emit ISettings.SettingChanged(HOLD, GPUS, value);
        vm.prank(stranger);
        ledger.enact(HOLD, GPUS);

        s = ledger.settingOf(HOLD, GPUS);
        assertEq(s.value, value);
        assertEq(s.pending, 0);
        assertEq(s.pendingAt, 0);
        assertEq(s.nextChangeAt, readyAt + PERIOD);
    }

    /// Which way is tighter is the setting's: a higher level, a higher threshold, a lower number of admissions.
    function testEverySettingTightensAtOnceAndLoosensLate() public {
        _tightens(address(ledger), USE, GPUS, USE_BPS - 1);
        _tightens(address(ledger), LEVEL, GPUS, 4);
        _tightens(address(ledger), QUORUM, 0, 3);
        _tightens(address(members), QUORUM, 0, 3);
        _tightens(address(members), DAILY, 0, ADMISSIONS - 1);
        _tightens(address(ledger), FLOORS, GPUS, FLOOR - 1);

        vm.warp(START + PERIOD);
        _loosens(address(ledger), USE, GPUS, USE_BPS);
        _loosens(address(ledger), LEVEL, GPUS, 3);
        _loosens(address(ledger), QUORUM, 0, 2);
        _loosens(address(members), QUORUM, 0, 2);
        _loosens(address(members), DAILY, 0, ADMISSIONS);
        _loosens(address(ledger), FLOORS, GPUS, FLOOR);
    }

    function testEnactWhatWasNotScheduled() public {
        vm.expectRevert(abi.encodeWithSelector(ISettings.NothingPending.selector, HOLD, GPUS));
        ledger.enact(HOLD, GPUS);
        vm.expectRevert(abi.encodeWithSelector(ISettings.NothingPending.selector, bytes32("nonsense"), GPUS));
        ledger.enact("nonsense", GPUS);
    }

    function testEnactTwice() public {
        change(address(ledger), HOLD, GPUS, HOLD_BPS + 1);
        vm.warp(START + LOOSEN_DELAY);
        ledger.enact(HOLD, GPUS);
        vm.expectRevert(abi.encodeWithSelector(ISettings.NothingPending.selector, HOLD, GPUS));
        ledger.enact(HOLD, GPUS);
    }

    /// Who tightens means it: what would have loosened later is called back.
    function testTighteningCallsALooseningBack() public {
        change(address(ledger), HOLD, GPUS, HOLD_BPS + 500);

        vm.expectEmit(address(ledger));
        emit ISettings.SettingCancelled(HOLD, GPUS);
        change(address(ledger), HOLD, GPUS, HOLD_BPS - 500);

        vm.warp(START + LOOSEN_DELAY);
        vm.expectRevert(abi.encodeWithSelector(ISettings.NothingPending.selector, HOLD, GPUS));
        ledger.enact(HOLD, GPUS);
        assertEq(ledger.classOf(GPUS).holdBps, HOLD_BPS - 500);
    }

    function testALaterLooseningWaitsAnew() public {
        change(address(ledger), HOLD, GPUS, HOLD_BPS + 500);
        vm.warp(START + LOOSEN_DELAY);
        change(address(ledger), HOLD, GPUS, HOLD_BPS + 400);

        vm.expectRevert(
            abi.encodeWithSelector(ISettings.NotYet.selector, HOLD, START + 2 * LOOSEN_DELAY, START + LOOSEN_DELAY)
        );
        ledger.enact(HOLD, GPUS);
        vm.warp(START + 2 * LOOSEN_DELAY);
        ledger.enact(HOLD, GPUS);
        assertEq(ledger.classOf(GPUS).holdBps, HOLD_BPS + 400);
    }

    function testCancel() public {
        change(address(ledger), HOLD, GPUS, HOLD_BPS + 500);
        vm.startPrank(system.timelock);

        vm.expectEmit(address(ledger));
        emit ISettings.SettingCancelled(HOLD, GPUS);
        ledger.cancel(HOLD, GPUS);

        vm.expectRevert(abi.encodeWithSelector(ISettings.NothingPending.selector, HOLD, GPUS));
        ledger.cancel(HOLD, GPUS);
        vm.warp(START + LOOSEN_DELAY);
        vm.expectRevert(abi.encodeWithSelector(ISettings.NothingPending.selector, HOLD, GPUS));
        ledger.enact(HOLD, GPUS);
    }

    /* BOUNDS, STEP, PERIOD */

    /// tx-chain 108 and Morpho's MAX_FEE: what the council can set is bounded itself.
    function testOutOfBounds(uint256 value) public {
        _refuse(address(ledger), HOLD, GPUS, _outside(value, 100, 5_000), 100, 5_000);
        _refuse(address(ledger), USE, GPUS, _outside(value, 100, 10_000), 100, 10_000);
        _refuse(address(ledger), LEVEL, GPUS, _outside(value, 0, 5), 0, 5);
        _refuse(address(ledger), QUORUM, 0, _outside(value, 2, 3), 2, 3);
        _refuse(address(members), QUORUM, 0, _outside(value, 2, 3), 2, 3);
        _refuse(address(members), DAILY, 0, _outside(value, 1, 10_000), 1, 10_000);
        uint256 min = ledger.settingOf(FLOORS, GPUS).min;
        assertGe(min * HOLD_BPS, 10_000, "below the floor one unit can be held");
        _refuse(address(ledger), FLOORS, GPUS, _outside(value, min, MAX_UNITS), min, MAX_UNITS);
    }

    function testStepTooLarge(uint256 value) public {
        _tooFar(address(ledger), HOLD, GPUS, value);
        _tooFar(address(ledger), USE, GPUS, value);
        _tooFar(address(ledger), LEVEL, GPUS, value);
        _tooFar(address(ledger), FLOORS, GPUS, value);
        _tooFar(address(members), DAILY, 0, value);
    }

    function testOnceInAPeriod(uint48 later) public {
        later = uint48(bound(later, 0, PERIOD - 1));
        change(address(ledger), HOLD, GPUS, HOLD_BPS - 500);
        vm.warp(START + later);
        bytes memory tooSoon = abi.encodeWithSelector(ISettings.TooSoon.selector, HOLD, START + PERIOD, START + later);
        vm.startPrank(system.timelock);
        vm.expectRevert(tooSoon);
        ledger.change(HOLD, GPUS, HOLD_BPS - 501);
        vm.expectRevert(tooSoon);
        ledger.change(HOLD, GPUS, HOLD_BPS);
        ledger.change(HOLD, TEXT, HOLD_BPS - 500); // another setting has its own period

        vm.warp(START + PERIOD);
        ledger.change(HOLD, GPUS, HOLD_BPS - 1_000);
    }

    /// The period counts from when a value works: a loosening that waited long is not followed by another at once.
    function testPeriodAfterALateEnactment(uint48 late) public {
        late = uint48(bound(late, LOOSEN_DELAY, 10 * PERIOD));
        change(address(ledger), HOLD, GPUS, HOLD_BPS + 500);
        vm.warp(START + late);
        ledger.enact(HOLD, GPUS);

        vm.prank(system.timelock);
        vm.expectRevert(abi.encodeWithSelector(ISettings.TooSoon.selector, HOLD, START + late + PERIOD, START + late));
        ledger.change(HOLD, GPUS, HOLD_BPS + 1_000);
    }

    /// Whatever is tried, a year moves a limit by no more than five steps. A history of 73 tries a run: fewer runs.
    /// forge-config: default.fuzz.runs = 50
    /// forge-config: deep.fuzz.runs = 1000
    function testHowFarAYearGoes(uint256 seed) public {
        uint256 bps = HOLD_BPS;
        for (uint256 day; day < 365; day += 5) {
            vm.warp(START + day * 1 days);
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 value = seed % 2 == 0 ? bps + 500 : bps + seed % 700;
            vm.prank(system.timelock);
            (bool changed,) = address(ledger).call(abi.encodeCall(ISettings.change, (HOLD, GPUS, value)));
            (bool enacted,) = address(ledger).call(abi.encodeCall(ISettings.enact, (HOLD, GPUS)));
            if (changed || enacted) bps = ledger.classOf(GPUS).holdBps;
        }
        assertLe(bps, HOLD_BPS + 5 * 500);
    }

    function testSameValue() public {
        vm.prank(system.timelock);
        vm.expectRevert(abi.encodeWithSelector(ISettings.SameValue.selector, HOLD, HOLD_BPS));
        ledger.change(HOLD, GPUS, HOLD_BPS);
    }

    /// The bounds of a threshold follow the signers: what was in them when it was scheduled need not be when it is due.
    function testEnactOutOfBoundsMeanwhile() public {
        vm.startPrank(system.timelock);
        members.change(QUORUM, 0, 3);
        members.addSigner(stranger);
        vm.warp(START + PERIOD);
        members.change(QUORUM, 0, 2);
        vm.stopPrank();
        members.enactSigner(stranger); // three of four

        vm.warp(START + PERIOD + LOOSEN_DELAY);
        vm.expectRevert(abi.encodeWithSelector(ISettings.OutOfBounds.selector, QUORUM, 2, 3, 4));
        members.enact(QUORUM, 0);
        assertEq(members.threshold(), 3);
    }

    /* NOBODY BUT THE TIMELOCK */

    function testOnlyTheTimelock(address sender) public {
        vm.assume(sender != system.timelock);
        change(address(ledger), HOLD, GPUS, HOLD_BPS + 500);
        change(address(members), QUORUM, 0, 3);
        _refuseSender(address(ledger), sender);
        _refuseSender(address(members), sender);
        _refuseSender(address(ledger), system.council);
        _refuseSender(address(members), system.council);
        _refuseSender(address(ledger), system.members);
        _refuseSender(address(members), address(this));
    }

    function _refuseSender(address target, address sender) private {
        bytes memory only = abi.encodeWithSelector(ISettings.OnlyTimelock.selector, sender);
        vm.startPrank(sender);
        vm.expectRevert(only);
        ISettings(target).change(HOLD, GPUS, HOLD_BPS - 1);
        vm.expectRevert(only);
        ISettings(target).cancel(HOLD, GPUS);
        vm.expectRevert(only);
        ISettings(target).abdicate(HOLD, GPUS);
        vm.expectRevert(only);
        IQuorum(target).addSigner(sender);
        vm.expectRevert(only);
        IQuorum(target).removeSigner(sender);
        vm.stopPrank();
    }

    function _tightens(address target, bytes32 name, bytes32 subject, uint256 value) private {
        change(target, name, subject, value);
        assertEq(ISettings(target).settingOf(name, subject).value, value, string(abi.encodePacked(name)));
    }

    function _loosens(address target, bytes32 name, bytes32 subject, uint256 value) private {
        change(target, name, subject, value);
        ISettings.Setting memory s = ISettings(target).settingOf(name, subject);
        assertEq(s.pending, value, string(abi.encodePacked(name)));
        assertEq(s.pendingAt, block.timestamp + LOOSEN_DELAY);
        uint256 now_ = block.timestamp;
        vm.warp(s.pendingAt);
        ISettings(target).enact(name, subject);
        assertEq(ISettings(target).settingOf(name, subject).value, value);
        vm.warp(now_);
    }

    /// Anything but what lies between the bounds.
    function _outside(uint256 value, uint256 min, uint256 max) private pure returns (uint256) {
        return value >= min && value <= max ? max + 1 : value;
    }

    function _refuse(address target, bytes32 name, bytes32 subject, uint256 value, uint256 min, uint256 max) private {
        vm.prank(system.timelock);
        vm.expectRevert(abi.encodeWithSelector(ISettings.OutOfBounds.selector, name, value, min, max));
        ISettings(target).change(name, subject, value);
    }

    /// Inside the bounds, one step and one more away.
    function _tooFar(address target, bytes32 name, bytes32 subject, uint256 value) private {
        ISettings.Setting memory s = ISettings(target).settingOf(name, subject);
        value = value % 2 == 0 || s.value <= s.min + s.step
            ? bound(value, s.value + s.step + 1, s.max)
            : bound(value, s.min, s.value - s.step - 1);
        vm.prank(system.timelock);
        vm.expectRevert(abi.encodeWithSelector(ISettings.StepTooLarge.selector, name, s.value, value, s.step));
        ISettings(target).change(name, subject, value);
    }

    function _check(
        ISettings.Setting memory s,
        uint256 value,
        uint256 min,
        uint256 max,
        uint256 step,
        bool lowerIsTighter
    ) private pure {
        assertEq(s.value, value);
        assertEq(s.min, min);
        assertEq(s.max, max);
        assertEq(s.step, step);
        assertEq(s.lowerIsTighter, lowerIsTighter);
        assertEq(s.pending, 0);
        assertEq(s.pendingAt, 0);
        assertEq(s.nextChangeAt, 0);
        assertFalse(s.abdicated);
    }
}
