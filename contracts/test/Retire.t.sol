// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {Signature} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

contract RetireTest is Base {
    ILedger.Appraisal internal a;
    uint256 internal asset;

    function setUp() public override {
        super.setUp();
        a = machine(2 * MOST_HELD);
        asset = register(a, twoShares(provider, 20 * GPU, developer, 10 * GPU));
    }

    function testRetire(uint48 late) public {
        late = uint48(bound(late, EXPIRES + GRACE, type(uint48).max));
        vm.warp(late);

        vm.expectEmit(address(ledger));
        emit ILedger.Retired(asset, GPUS, 2 * MOST_HELD);
        vm.prank(stranger);
        ledger.retire(asset, a.devices);

        assertTrue(ledger.assetOf(asset).retired);
        assertFalse(ledger.isLive(asset));
        assertEq(ledger.classOf(GPUS).total, 0, "out of the total at once");
        assertEq(ledger.heldBy(GPUS, provider), 20 * GPU, "of what groups hold when they are synced");
        assertEq(ledger.balanceOf(provider, asset), 20 * GPU);
        assertEq(ledger.totalSupply(asset), 2 * MOST_HELD);
        assertEq(ledger.assetOfDevice(a.devices[0]), 0);
        vm.expectRevert(abi.encodeWithSelector(ILedger.IsRetired.selector, asset));
        ledger.retire(asset, a.devices);
    }

    function testRetireTooEarly(uint48 when) public {
        when = uint48(bound(when, START, EXPIRES + GRACE - 1));
        vm.warp(when);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotLapsed.selector, asset, EXPIRES + GRACE, when));
        ledger.retire(asset, a.devices);
    }

    function testRetireWithOtherDevices(bytes32 device) public {
        vm.assume(device != a.devices[0]);
        vm.warp(EXPIRES + GRACE);
        bytes32[] memory devices = a.devices;
        devices[0] = device;
        vm.expectRevert(abi.encodeWithSelector(ILedger.DevicesDiffer.selector));
        ledger.retire(asset, devices);
        vm.expectRevert(abi.encodeWithSelector(ILedger.DevicesDiffer.selector));
        ledger.retire(asset, new bytes32[](0));
    }

    function testRetireUnknownAsset(uint256 other) public {
        vm.assume(other != asset);
        vm.expectRevert(abi.encodeWithSelector(ILedger.UnknownAsset.selector, other));
        ledger.retire(other, a.devices);
    }

    function testRetiredIsNeitherTakenNorRenewed() public {
        _retire();
        vm.prank(developer);
        vm.expectRevert(abi.encodeWithSelector(ILedger.IsRetired.selector, asset));
        ledger.take(asset, GPU, COMMONS_PRICE);

        a.expiresAt = EXPIRES + 52 weeks;
        Signature[] memory quorum = appraised(a);
        vm.expectRevert(abi.encodeWithSelector(ILedger.IsRetired.selector, asset));
        ledger.renew(asset, a, quorum);

        uint32 window = access.currentWindow();
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IAccess.AssetNotLive.selector, asset));
        access.open(asset, window, 0, 0);
    }

    /// Its devices, and the content of a dataset, stand under another asset from then on.
    function testRetiredFreesWhatItWasMadeOf() public {
        ILedger.Appraisal memory d = dataset(GPU);
        uint256 data = register(d, noShares());
        _retire();
        ledger.retire(data, d.devices);
        a.expiresAt = EXPIRES + 52 weeks;
        d.expiresAt = EXPIRES + 52 weeks;

        uint256 again = register(a, noShares());

        assertEq(ledger.assetOfDevice(a.devices[0]), again);
        register(d, noShares());
        assertEq(ledger.classOf(TEXT).total, GPU);
    }

    function testSync(uint64 moved, bool together) public {
        moved = uint64(bound(moved, 0, 10 * GPU));
        if (together) attach(developer, provider);
        vm.prank(provider);
        ledger.transfer(affiliate, asset, moved);
        _retire();

        address[] memory holders = new address[](3);
        (holders[0], holders[1], holders[2]) = (provider, developer, provider);
        vm.expectEmit(address(ledger));
        emit ILedger.Synced(asset, provider, 20 * GPU - moved);
        ledger.sync(asset, holders);
        ledger.sync(asset, holders);

        assertEq(ledger.heldBy(GPUS, provider), 0);
        assertEq(ledger.heldBy(GPUS, developer), 0);
        assertEq(ledger.heldBy(GPUS, affiliate), moved, "not synced yet");
        assertTrue(ledger.isSynced(asset, provider));
        assertFalse(ledger.isSynced(asset, affiliate));
    }

    function testSyncOfTheCommons() public {
        _retire();
        address[] memory holders = new address[](1);
        holders[0] = address(ledger);
        ledger.sync(asset, holders);

        assertEq(ledger.classOf(GPUS).total, 0);
        assertEq(ledger.commonsOf(asset), 2 * MOST_HELD - 30 * GPU);
    }

    function testSyncOfOneNotRetired() public {
        vm.expectRevert(abi.encodeWithSelector(ILedger.NotRetired.selector, asset));
        ledger.sync(asset, new address[](0));
    }

    /// A transfer syncs both sides, and counts for nobody: what is retired is in no limit.
    function testTransferOfRetired(uint64 units) public {
        units = uint64(bound(units, 0, 20 * GPU));
        uint256 other = registerLater(developer, MOST_HELD - 10 * GPU);
        assertEq(ledger.headroom(GPUS, developer), 0);
        ledger.retire(asset, a.devices);
        assertTrue(ledger.canTransfer(provider, developer, asset, units));

        vm.prank(provider);
        ledger.transfer(developer, asset, units);

        assertEq(ledger.balanceOf(developer, asset), 10 * GPU + units);
        assertEq(ledger.heldBy(GPUS, provider), 0);
        assertEq(ledger.heldBy(GPUS, developer), MOST_HELD - 10 * GPU);
        assertEq(ledger.balanceOf(developer, other), MOST_HELD - 10 * GPU);
        vm.prank(developer);
        ledger.decline(asset, units);
        assertEq(ledger.heldBy(GPUS, developer), MOST_HELD - 10 * GPU);
    }

    /// Who receives retired units without having held any is synced as well: nothing is taken out of its total later.
    function testSyncAfterAGiftOfRetired() public {
        registerLater(affiliate, GPU);
        ledger.retire(asset, a.devices);
        vm.prank(provider);
        ledger.transfer(affiliate, asset, 10 * GPU);
        address[] memory holders = new address[](1);
        holders[0] = affiliate;

        ledger.sync(asset, holders);

        assertEq(ledger.heldBy(GPUS, affiliate), GPU);
    }

    /// tx-chain 108: others who leave push a holder over.
    /// A total that shrank leaves groups over the limit; they keep what they have and get no more.
    function testRetireLeavesOthersOverTheLimit() public {
        ILedger.Appraisal memory large = machine(400 * GPU);
        large.expiresAt = EXPIRES + 52 weeks;
        register(large, noShares());
        nextBlock();
        uint256 other = register(machine(100 * GPU), oneShare(affiliate, 100 * GPU));
        assertEq(ledger.balanceOf(affiliate, other), 100 * GPU);
        vm.warp(EXPIRES + 52 weeks + GRACE);
        ledger.retire(asset, a.devices);
        bytes32[] memory devices = large.devices;
        ledger.retire(uint256(typed(ledgerDomain(), hashOf(large))) % (1 << 192), devices);

        assertTrue(ledger.isOver(GPUS, affiliate));
        assertEq(ledger.headroom(GPUS, affiliate), 0);
        vm.prank(affiliate);
        ledger.decline(other, 50 * GPU);
        assertEq(ledger.balanceOf(affiliate, other), 50 * GPU, "the way out is open");
    }

    /// Another machine, appraised later than the first, which is then past its grace.
    function registerLater(address owner, uint64 units) private returns (uint256 other) {
        vm.warp(EXPIRES + GRACE);
        ILedger.Appraisal memory later = machine(units);
        later.expiresAt = EXPIRES + 52 weeks;
        return register(later, oneShare(owner, units));
    }

    function _retire() private {
        vm.warp(EXPIRES + GRACE);
        ledger.retire(asset, a.devices);
    }
}
