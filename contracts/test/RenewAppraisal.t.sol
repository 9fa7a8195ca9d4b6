// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedger} from "../src/interfaces/ILedger.sol";
import {IQuorum} from "../src/interfaces/IQuorum.sol";
import {Signature} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

contract RenewAppraisalTest is Base {
    ILedger.Appraisal internal a; // the appraisal that the asset was registered with, changed by each test
    uint256 internal asset;

    function setUp() public override {
        super.setUp();
        a = machine(8 * GPU);
        asset = register(a, oneShare(provider, 8 * GPU));
    }

    function testRenewAppraisal(uint48 expiresAt, uint8 level, bytes32 contentHash, bytes32 resultHash) public {
        expiresAt = uint48(bound(expiresAt, EXPIRES + 1, type(uint48).max));
        (a.expiresAt, a.level) = (expiresAt, uint8(bound(level, 3, 5)));
        (a.contentHash, a.resultHash, a.policy) = (contentHash, resultHash, "production");
        (a.meterKeyX, a.meterKeyY) = publicKey(0x33);
        Signature[] memory quorum = appraised(a);

        vm.expectEmit(address(ledger));
        emit ILedger.AppraisalRenewed(
            asset, a.level, "production", contentHash, resultHash, a.meterKeyX, a.meterKeyY, expiresAt
        );
        vm.prank(relayer);
        ledger.renew(asset, a, quorum);

        ILedger.Asset memory stored = ledger.assetOf(asset);
        assertEq(
            abi.encode(stored),
            abi.encode(
                ILedger.Asset({
                    classId: GPUS,
                    operator: provider,
                    expiresAt: expiresAt,
                    level: a.level,
                    retired: false,
                    units: 8 * GPU,
                    contentHash: contentHash,
                    resultHash: resultHash,
                    meterKeyX: a.meterKeyX,
                    meterKeyY: a.meterKeyY,
                    commonsPrice: COMMONS_PRICE
                })
            )
        );
        assertEq(ledger.balanceOf(provider, asset), 8 * GPU);
        assertEq(ledger.classOf(GPUS).total, 8 * GPU);
    }

    function testRenewAppraisalThatLapsed(uint48 late) public {
        late = uint48(bound(late, EXPIRES, type(uint48).max - 1));
        a.expiresAt = late + 1;
        vm.warp(late);

        ledger.renew(asset, a, appraised(a));

        assertTrue(ledger.isLive(asset));
    }

    function testRenewAppraisalUnknownAsset(uint256 other) public {
        vm.assume(other != asset);
        a.expiresAt = EXPIRES + 1;
        Signature[] memory quorum = appraised(a);
        vm.expectRevert(abi.encodeWithSelector(ILedger.UnknownAsset.selector, other));
        ledger.renew(other, a, quorum);
    }

    function testRenewAppraisalNotLater(uint48 expiresAt) public {
        expiresAt = uint48(bound(expiresAt, 0, EXPIRES));
        a.expiresAt = expiresAt;
        _refuse(abi.encodeWithSelector(ILedger.ExpiryNotLater.selector, expiresAt, EXPIRES));
    }

    function testRenewAppraisalForAsLongAsBefore() public {
        a.expiresAt = EXPIRES;
        _refuse(abi.encodeWithSelector(ILedger.ExpiryNotLater.selector, EXPIRES, EXPIRES));
    }

    function testRenewAppraisalLaterButPast() public {
        a.expiresAt = EXPIRES + 1;
        vm.warp(EXPIRES + 1);
        _refuse(abi.encodeWithSelector(ILedger.AppraisalExpired.selector, EXPIRES + 1, EXPIRES + 1));
    }

    function testRenewAppraisalOfAnotherClass(bytes32 classId) public {
        vm.assume(classId != GPUS);
        (a.expiresAt, a.classId) = (EXPIRES + 1, classId);
        _refuse(abi.encodeWithSelector(ILedger.ClassDiffers.selector, classId, GPUS));
    }

    function testRenewAppraisalForAnotherRegistrant(address registrant) public {
        vm.assume(registrant != provider);
        (a.expiresAt, a.registrant) = (EXPIRES + 1, registrant);
        _refuse(abi.encodeWithSelector(ILedger.NotRegistrant.selector, registrant, provider));
    }

    function testRenewAppraisalWithOtherUnits(uint64 units) public {
        vm.assume(units != 8 * GPU);
        (a.expiresAt, a.units) = (EXPIRES + 1, units);
        _refuse(abi.encodeWithSelector(ILedger.UnitsDiffer.selector, units, 8 * GPU));
    }

    function testRenewAppraisalWithOtherDevices(bytes32 device) public {
        vm.assume(device != a.devices[0]);
        (a.expiresAt, a.devices[0]) = (EXPIRES + 1, device);
        _refuse(abi.encodeWithSelector(ILedger.DevicesDiffer.selector));
        a.devices = new bytes32[](0);
        _refuse(abi.encodeWithSelector(ILedger.DevicesDiffer.selector));
    }

    function testRenewAppraisalBelowTheClassLevel(uint8 level) public {
        level = uint8(bound(level, 0, 2));
        (a.expiresAt, a.level) = (EXPIRES + 1, level);
        _refuse(abi.encodeWithSelector(ILedger.LevelTooLow.selector, level, 3));
    }

    function testRenewAppraisalBadMeterKey(bytes32 x) public {
        (a.expiresAt, a.meterKeyX, a.meterKeyY) = (EXPIRES + 1, x, 0);
        _refuse(abi.encodeWithSelector(ILedger.BadMeterKey.selector));
    }

    function testRenewAppraisalAfterDeadline(uint48 deadline) public {
        deadline = uint48(bound(deadline, 0, START - 1));
        (a.expiresAt, a.deadline) = (EXPIRES + 1, deadline);
        _refuse(abi.encodeWithSelector(IQuorum.DeadlinePassed.selector, deadline, START));
    }

    function testRenewAppraisalUnsigned() public {
        a.expiresAt = EXPIRES + 1;
        Signature[] memory quorum = appraised(a);
        a.expiresAt = EXPIRES + 2;
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadSignature.selector, quorum[0].signer));
        ledger.renew(asset, a, quorum);
    }

    /// An appraisal made to register a dataset renews no other one of the same size.
    function testRenewDatasetWithTheAppraisalOfAnother() public {
        a = dataset(GPU);
        asset = register(a, noShares());
        bytes32 expected = a.contentHash;
        a = dataset(GPU);
        a.expiresAt = EXPIRES + 1;
        _refuse(abi.encodeWithSelector(ILedger.ContentDiffers.selector, a.contentHash, expected));
        register(a, noShares());
    }

    /// An appraisal made to renew registers nothing a second time.
    function testRegisterWithTheAppraisalOfARenewal() public {
        a.expiresAt = EXPIRES + 1;
        Signature[] memory quorum = appraised(a);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(ILedger.DeviceInUse.selector, a.devices[0], asset));
        ledger.register(a, quorum, noShares(), 0, "");

        a = dataset(GPU);
        asset = register(a, noShares());
        a.expiresAt = EXPIRES + 1;
        quorum = appraised(a);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(ILedger.ContentInUse.selector, a.contentHash, asset));
        ledger.register(a, quorum, noShares(), 0, "");
        ledger.renew(asset, a, quorum);
    }

    function _refuse(bytes memory reason) private {
        Signature[] memory quorum = appraised(a);
        vm.expectRevert(reason);
        ledger.renew(asset, a, quorum);
    }
}
