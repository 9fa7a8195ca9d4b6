// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISettings} from "../src/interfaces/ISettings.sol";
import {Base} from "./Base.t.sol";

/// A power that the council gives up is gone for good. Of signers: in Signers.
contract AbdicateTest is Base {
    bytes32 internal constant HOLD = "holdBps";

    function testAbdicate() public {
        vm.expectEmit(address(ledger));
        emit ISettings.Abdicated(HOLD, GPUS);
        vm.prank(system.timelock);
        ledger.abdicate(HOLD, GPUS);

        assertTrue(ledger.isAbdicated(HOLD, GPUS));
        assertTrue(ledger.settingOf(HOLD, GPUS).abdicated);
        bytes memory gone = abi.encodeWithSelector(ISettings.SettingAbdicated.selector, HOLD, GPUS);
        vm.startPrank(system.timelock);
        vm.expectRevert(gone);
        ledger.change(HOLD, GPUS, HOLD_BPS - 1);
        vm.expectRevert(gone);
        ledger.change(HOLD, GPUS, HOLD_BPS + 1);
        vm.expectRevert(gone);
        ledger.abdicate(HOLD, GPUS);
        ledger.change(HOLD, TEXT, HOLD_BPS - 1); // of another class it still may
    }

    function testAbdicateWhileAChangeWaits() public {
        change(address(ledger), HOLD, GPUS, HOLD_BPS + 500);
        vm.expectEmit(address(ledger));
        emit ISettings.SettingCancelled(HOLD, GPUS);
        vm.prank(system.timelock);
        ledger.abdicate(HOLD, GPUS);

        vm.warp(START + LOOSEN_DELAY);
        vm.expectRevert(abi.encodeWithSelector(ISettings.NothingPending.selector, HOLD, GPUS));
        ledger.enact(HOLD, GPUS);
        assertEq(ledger.classOf(GPUS).holdBps, HOLD_BPS);
    }
}
