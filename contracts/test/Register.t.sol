// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedger} from "../src/interfaces/ILedger.sol";
import {IQuorum} from "../src/interfaces/IQuorum.sol";
import {Signature} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

contract RegisterTest is Base {
    /// sei-cosmos 167 let the first delegation have all; vault-v2 744 refuses deposits while little is in. Here the floor
    /// limits the first units of a class as well, and what exceeds a limit goes to the commons.
    function testRegister(uint64 units, uint64 share, uint8 level, uint48 expiresAt) public {
        units = uint64(bound(units, 1, MAX_UNITS));
        share = uint64(bound(share, 0, units));
        ILedger.Appraisal memory a = machine(units);
        a.level = uint8(bound(level, 3, 5));
        a.expiresAt = uint48(bound(expiresAt, START + 1, type(uint48).max));
        uint256 asset = _idOf(a);

        vm.expectEmit(address(ledger));
        emit ILedger.Registered(
            asset,
            GPUS,
            provider,
            units,
            a.level,
            "development",
            a.contentHash,
            a.resultHash,
            a.devices,
            a.meterKeyX,
            a.meterKeyY,
            a.expiresAt,
            "ipfs://manifest"
        );
        vm.expectEmit(address(ledger));
        emit ILedger.CommonsPriced(asset, COMMONS_PRICE);
        assertEq(register(a, oneShare(developer, share)), asset);

        uint256 given = share < MOST_HELD ? share : MOST_HELD;
        assertEq(ledger.balanceOf(developer, asset), given);
        assertEq(ledger.commonsOf(asset), units - given, "the rest is the commons'");
        assertEq(ledger.heldBy(GPUS, developer), given);
        assertEq(ledger.heldBy(GPUS, address(ledger)), 0);
        assertEq(ledger.totalSupply(asset), units);
        assertEq(ledger.classOf(GPUS).total, units);
        assertEq(ledger.assetOfDevice(a.devices[0]), asset);
        assertEq(asset >> 192, 0);
        ILedger.Asset memory stored = ledger.assetOf(asset);
        assertEq(
            abi.encode(stored),
            abi.encode(
                ILedger.Asset({
                    classId: GPUS,
                    operator: provider,
                    expiresAt: a.expiresAt,
                    level: a.level,
                    retired: false,
                    units: units,
                    contentHash: a.contentHash,
                    resultHash: a.resultHash,
                    meterKeyX: a.meterKeyX,
                    meterKeyY: a.meterKeyY,
                    commonsPrice: COMMONS_PRICE
                })
            )
        );
        vm.warp(a.expiresAt - 1);
        assertTrue(ledger.isLive(asset));
        vm.warp(a.expiresAt);
        assertFalse(ledger.isLive(asset));
    }

    /// Each share takes what is left of its group's limit at that moment, the commons what is left of the units.
    function testRegisterSplitInsideOneGroup(uint64 first, uint64 second, uint64 third) public {
        first = uint64(bound(first, 0, 2 * MOST_HELD));
        second = uint64(bound(second, 0, 2 * MOST_HELD));
        third = uint64(bound(third, 0, 2 * MOST_HELD));
        uint64 units = 6 * MOST_HELD;
        attach(affiliate, provider);
        ILedger.Share[] memory split = new ILedger.Share[](3);
        split[0] = ILedger.Share(provider, first);
        split[1] = ILedger.Share(affiliate, second);
        split[2] = ILedger.Share(developer, third);

        uint256 asset = register(machine(units), split);

        uint256 ofProvider = _min(first, MOST_HELD);
        uint256 ofAffiliate = _min(second, MOST_HELD - ofProvider);
        uint256 ofDeveloper = _min(third, MOST_HELD);
        assertEq(ledger.balanceOf(provider, asset), ofProvider);
        assertEq(ledger.balanceOf(affiliate, asset), ofAffiliate);
        assertEq(ledger.balanceOf(developer, asset), ofDeveloper);
        assertEq(ledger.heldBy(GPUS, provider), ofProvider + ofAffiliate);
        assertEq(ledger.balanceOf(address(ledger), asset), units - ofProvider - ofAffiliate - ofDeveloper);
    }

    /// vault-v2 288, a cap lifted by a flash loan: units that come in one block do not lift the limit before the next one.
    function testRegisterDoesNotLiftTheLimitInItsOwnBlock(uint64 units) public {
        units = uint64(bound(units, FLOOR + 1, MAX_UNITS - 100 * GPU));
        register(machine(units), noShares());
        assertEq(ledger.capBase(GPUS), FLOOR);
        assertEq(ledger.classOf(GPUS).startTotal, 0);

        uint256 asset = registerMachine(provider, 100 * GPU);
        assertEq(ledger.balanceOf(provider, asset), MOST_HELD, "the limit of the block's start");
        assertEq(ledger.headroom(GPUS, provider), 0);

        nextBlock();
        assertEq(ledger.capBase(GPUS), uint256(units) + 100 * GPU);
        assertEq(ledger.classOf(GPUS).startTotal, ledger.classOf(GPUS).total);
        assertEq(ledger.headroom(GPUS, provider), (uint256(units) + 100 * GPU) * HOLD_BPS / 10_000 - MOST_HELD);
    }

    /// Prime Intellect ComputeRegistry kept 2^32 + 5 units as 5: no number is cut on its way; the total of a class ends below 2^63.
    function testRegisterTotalTooLarge(uint64 first, uint64 second) public {
        first = uint64(bound(first, 1, MAX_UNITS));
        second = uint64(bound(second, uint256(MAX_UNITS) - first + 1, type(uint64).max));
        register(machine(first), noShares());

        _refuse(
            machine(second),
            abi.encodeWithSelector(ILedger.TotalTooLarge.selector, GPUS, uint256(first) + uint256(second))
        );
        assertEq(ledger.classOf(GPUS).total, first);
    }

    function testRegisterManyDevices(uint8 count) public {
        count = uint8(bound(count, 1, 16));
        ILedger.Appraisal memory a = machine(count * GPU);
        a.devices = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            a.devices[i] = bytes32(i + 1);
        }

        uint256 asset = register(a, noShares());

        for (uint256 i; i < count; ++i) {
            assertEq(ledger.assetOfDevice(a.devices[i]), asset);
        }
    }

    function testRegisterDataset(uint64 units) public {
        units = uint64(bound(units, 1, MAX_UNITS));
        uint256 asset = register(dataset(units), oneShare(provider, units));

        assertEq(ledger.heldBy(TEXT, provider), _min(units, MOST_HELD));
        assertEq(ledger.name(asset), "data/text");
        assertEq(ledger.symbol(asset), "1e9 tokens");
    }

    function testRegisterDatasetServedByANode() public {
        ILedger.Appraisal memory a = dataset(GPU);
        (a.meterKeyX, a.meterKeyY) = publicKey(METER_KEY);

        uint256 asset = register(a, noShares());

        assertEq(ledger.assetOf(asset).meterKeyX, a.meterKeyX);
    }

    function testRegisterByAnotherThanTheRegistrant(address sender) public {
        vm.assume(sender != provider);
        ILedger.Appraisal memory a = machine(GPU);
        Signature[] memory quorum = appraised(a);
        vm.prank(sender);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotRegistrant.selector, sender, provider));
        ledger.register(a, quorum, noShares(), 0, "");
    }

    function testRegisterTwice() public {
        ILedger.Appraisal memory a = machine(GPU);
        uint256 asset = register(a, noShares());
        _refuse(a, abi.encodeWithSelector(ILedger.AssetExists.selector, asset));
    }

    function testRegisterDeviceInUse(uint64 units) public {
        units = uint64(bound(units, 1, MAX_UNITS - GPU));
        ILedger.Appraisal memory first = machine(GPU);
        uint256 asset = register(first, noShares());
        ILedger.Appraisal memory a = machine(units);
        a.devices[0] = first.devices[0];
        _refuse(a, abi.encodeWithSelector(ILedger.DeviceInUse.selector, a.devices[0], asset));
    }

    function testRegisterContentInUse(uint64 units) public {
        units = uint64(bound(units, GPU + 1, MAX_UNITS - GPU));
        ILedger.Appraisal memory first = dataset(GPU);
        uint256 asset = register(first, noShares());
        ILedger.Appraisal memory a = dataset(units);
        a.contentHash = first.contentHash;
        _refuse(a, abi.encodeWithSelector(ILedger.ContentInUse.selector, a.contentHash, asset));
    }

    function testRegisterDevicesNotAscending(bytes32 device, bytes32 next) public {
        vm.assume(device != 0 && uint256(next) <= uint256(device));
        ILedger.Appraisal memory a = machine(GPU);
        a.devices = new bytes32[](2);
        (a.devices[0], a.devices[1]) = (device, next);
        _refuse(a, abi.encodeWithSelector(ILedger.DevicesNotAscending.selector, device, next));
        a.devices[0] = 0;
        _refuse(a, abi.encodeWithSelector(ILedger.DevicesNotAscending.selector, bytes32(0), bytes32(0)));
    }

    function testRegisterDevicesAndKind() public {
        ILedger.Appraisal memory a = machine(GPU);
        a.devices = new bytes32[](0);
        _refuse(a, abi.encodeWithSelector(ILedger.DevicesDiffer.selector));
        a = dataset(GPU);
        a.devices = new bytes32[](1);
        _refuse(a, abi.encodeWithSelector(ILedger.DevicesDiffer.selector));
    }

    function testRegisterBadMeterKey(bytes32 x, bytes32 y) public {
        ILedger.Appraisal memory a = machine(GPU);
        (a.meterKeyX, a.meterKeyY) = (x, y); // a random point is on the curve with a chance of 2^-128
        _refuse(a, abi.encodeWithSelector(ILedger.BadMeterKey.selector));
        (a.meterKeyX, a.meterKeyY) = (0, 0);
        _refuse(a, abi.encodeWithSelector(ILedger.BadMeterKey.selector));
        a = dataset(GPU);
        (a.meterKeyX, a.meterKeyY) = (x, bytes32(uint256(y) | 1));
        _refuse(a, abi.encodeWithSelector(ILedger.BadMeterKey.selector));
    }

    function testRegisterUnknownClass(bytes32 classId) public {
        vm.assume(classId != GPUS && classId != TEXT && classId != LLM);
        ILedger.Appraisal memory a = machine(GPU);
        a.classId = classId;
        _refuse(a, abi.encodeWithSelector(ILedger.UnknownClass.selector, classId));
    }

    function testRegisterLevelTooLow(uint8 level) public {
        level = uint8(bound(level, 0, 2));
        ILedger.Appraisal memory a = machine(GPU);
        a.level = level;
        _refuse(a, abi.encodeWithSelector(ILedger.LevelTooLow.selector, level, 3));
    }

    /// A level that there is not would stand above all that there are.
    function testRegisterLevelTooHigh(uint8 level) public {
        level = uint8(bound(level, 6, type(uint8).max));
        ILedger.Appraisal memory a = machine(8 * GPU);
        a.level = level;
        _refuse(a, abi.encodeWithSelector(ILedger.LevelTooHigh.selector, level, 5));
    }

    function testRegisterExpired(uint48 expiresAt) public {
        expiresAt = uint48(bound(expiresAt, 0, START));
        ILedger.Appraisal memory a = machine(GPU);
        a.expiresAt = expiresAt;
        _refuse(a, abi.encodeWithSelector(ILedger.AppraisalExpired.selector, expiresAt, START));
    }

    function testRegisterAfterDeadline(uint48 deadline) public {
        deadline = uint48(bound(deadline, 0, START - 1));
        ILedger.Appraisal memory a = machine(GPU);
        a.deadline = deadline;
        _refuse(a, abi.encodeWithSelector(IQuorum.DeadlinePassed.selector, deadline, START));
    }

    function testRegisterNoUnits() public {
        _refuse(machine(0), abi.encodeWithSelector(ILedger.NoUnits.selector));
    }

    function testRegisterSplitTooLarge(uint64 units, uint64 first, uint64 second) public {
        units = uint64(bound(units, 1, MAX_UNITS));
        first = uint64(bound(first, 0, units));
        second = uint64(bound(second, uint256(units) - first + 1, type(uint64).max));
        ILedger.Appraisal memory a = machine(units);
        Signature[] memory quorum = appraised(a);
        ILedger.Share[] memory split = twoShares(provider, first, developer, second);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(ILedger.UnitsDiffer.selector, uint256(first) + uint256(second), units));
        ledger.register(a, quorum, split, 0, "");
    }

    function testRegisterShareOfNoActiveMember(uint64 share) public {
        share = uint64(bound(share, 0, GPU));
        address lapsed = _actor("lapsed");
        admit(lapsed, START + 1);
        vm.warp(START + 1);
        address[4] memory owners = [stranger, lapsed, address(ledger), address(access)];
        for (uint256 i; i < owners.length; ++i) {
            ILedger.Appraisal memory a = machine(GPU);
            Signature[] memory quorum = appraised(a);
            vm.prank(provider);
            vm.expectRevert(abi.encodeWithSelector(ILedger.NotActiveMember.selector, owners[i]));
            ledger.register(a, quorum, oneShare(owners[i], share), 0, "");
        }
    }

    /* QUORUM */

    function testRegisterQuorumTooSmall() public {
        ILedger.Appraisal memory a = machine(GPU);
        Signature[] memory quorum = sign(_first(appraiserKeys, 1), typed(ledgerDomain(), hashOf(a)));
        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.QuorumTooSmall.selector, 1, THRESHOLD));
    }

    function testRegisterAppraiserCountedTwice() public {
        ILedger.Appraisal memory a = machine(GPU);
        Signature[] memory quorum = appraised(a);
        quorum[1] = quorum[0];
        address signer = quorum[0].signer;
        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.SignersNotAscending.selector, signer, signer));
    }

    function testRegisterByAnotherQuorum() public {
        ILedger.Appraisal memory a = machine(GPU);
        Signature[] memory quorum = sign(attesterKeys, typed(ledgerDomain(), hashOf(a)));
        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.NotInQuorum.selector, quorum[0].signer));
    }

    /// Prime Intellect counts the units that a provider says it has: here a quorum has signed the number.
    function testRegisterMoreUnitsThanAppraised(uint64 units) public {
        units = uint64(bound(units, GPU + 1, MAX_UNITS));
        ILedger.Appraisal memory a = machine(GPU);
        Signature[] memory quorum = appraised(a);
        a.units = units;
        _refuse(a, quorum, abi.encodeWithSelector(IQuorum.BadSignature.selector, quorum[0].signer));
    }

    function testRegisterAppraisalOfAnotherDomain(uint64 chainId, address verifier) public {
        vm.assume(chainId != block.chainid && verifier != address(ledger));
        ILedger.Appraisal memory a = machine(GPU);
        uint256[] memory keys = _first(appraiserKeys, THRESHOLD);
        bytes memory bad = abi.encodeWithSelector(IQuorum.BadSignature.selector, vm.addr(keys[0]));
        string memory name = "Commonhold Ledger";
        _refuse(a, sign(keys, typed(domainOf(name, chainId, address(ledger)), hashOf(a))), bad);
        _refuse(a, sign(keys, typed(domainOf(name, block.chainid, verifier), hashOf(a))), bad);
    }

    /// A gift even here: what an owner refuses, the registrant keeps or leaves to the commons.
    function testRegisterShareOfOneWhoRefusesGifts(uint64 share) public {
        share = uint64(bound(share, 0, GPU));
        refuseGifts(developer);
        ILedger.Appraisal memory a = machine(GPU);
        Signature[] memory quorum = appraised(a);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(ILedger.RefusesGifts.selector, developer));
        ledger.register(a, quorum, oneShare(developer, share), 0, "");

        refuseGifts(provider);
        uint256 asset = registerMachine(provider, GPU);
        assertEq(ledger.balanceOf(provider, asset), GPU, "its own registration is no gift");
    }

    function _refuse(ILedger.Appraisal memory a, bytes memory reason) private {
        _refuse(a, appraised(a), reason);
    }

    function _refuse(ILedger.Appraisal memory a, Signature[] memory quorum, bytes memory reason) private {
        vm.prank(provider);
        vm.expectRevert(reason);
        ledger.register(a, quorum, noShares(), 0, "");
    }

    function _idOf(ILedger.Appraisal memory a) private view returns (uint256) {
        return uint256(typed(ledgerDomain(), hashOf(a))) % (1 << 192);
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
