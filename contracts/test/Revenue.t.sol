// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ILedger} from "../src/interfaces/ILedger.sol";
import {Base} from "./Base.t.sol";

/// What units earn, whose it is, and that none of it is lost on the way.
contract RevenueTest is Base {
    uint256 internal constant ACCOUNTS = 4;

    uint256 internal asset;
    address[ACCOUNTS] internal people; // the ledger itself among them, for the commons
    /// The plain model: what each account is owed, in parts of the asset's units. Nothing in it is ever rounded. Below zero
    /// is who was paid a part of what the contract had carried.
    int256[ACCOUNTS] internal owedParts;

    function setUp() public override {
        super.setUp();
        asset = register(machine(40 * GPU), twoShares(provider, 7 * GPU, developer, 11 * GPU));
        people = [provider, developer, affiliate, address(ledger)];
    }

    /// A random history of revenue, transfers, gifts back and claims. What an account can claim at any time is what it
    /// earned, to one of the smallest unit, however often its units moved; and the sum of all, paid and owed, is what
    /// accrued, to the smallest unit but the fractions of each.
    function testRevenueAgainstThePlainModel(uint256[16] memory seeds) public {
        uint256 accrued;
        for (uint256 i; i < seeds.length; ++i) {
            uint256 seed = seeds[i];
            address from = people[(seed >> 8) % 3];
            address to = people[(seed >> 16) % 3];
            uint256 amount = bound(seed >> 32, 0, ledger.balanceOf(from, asset));
            if (seed % 4 == 0) {
                amount = bound(seed >> 32, 0, seed % 8 == 0 ? 1e27 : 100);
                _accrue(amount);
                accrued += amount;
                for (uint256 j; j < ACCOUNTS; ++j) {
                    owedParts[j] += int256(amount * ledger.balanceOf(people[j], asset));
                }
            } else if (seed % 4 == 1) {
                vm.prank(from);
                ledger.decline(asset, amount);
            } else if (seed % 4 == 2 && ledger.headroom(GPUS, to) >= amount) {
                vm.prank(from);
                ledger.transfer(to, asset, amount);
            } else if (seed % 4 == 3 && ledger.revenueOf(asset, from) != 0) {
                _claim((seed >> 8) % 3);
            }
            _checkModel();
        }

        (uint256 all, uint256 claimed) = ledger.revenueTotals();
        assertEq(all, accrued);
        uint256 left;
        for (uint256 j; j < ACCOUNTS; ++j) {
            left += ledger.revenueOf(asset, people[j]);
        }
        assertLe(claimed + left, accrued);
        assertGe(claimed + left + ACCOUNTS + 1, accrued, "fractions of one smallest unit each, and the carried rest");
        assertEq(coin.balanceOf(address(access)), accrued - claimed, "what was not claimed is in the escrow");
    }

    /// A transfer moves no revenue: not to the unit, with or without one in between.
    function testRevenueBeforeATransferStays(uint64 amount, uint64 units) public {
        amount = uint64(bound(amount, 1, type(uint64).max));
        units = uint64(bound(units, 0, 7 * GPU));
        _accrue(amount);
        uint256 before = ledger.revenueOf(asset, provider);

        vm.prank(provider);
        ledger.transfer(affiliate, asset, units);

        assertEq(ledger.revenueOf(asset, provider), before);
        assertEq(ledger.revenueOf(asset, affiliate), 0, "who comes later has no part in what was");
    }

    /// What does not divide is carried: many small amounts are worth what one large is.
    function testRevenueInSmallAmounts(uint8 times) public {
        for (uint256 i; i < times; ++i) {
            _accrue(1);
        }
        assertApproxEqAbs(ledger.revenueOf(asset, provider), uint256(times) * 7 / 40, 1);
    }

    function testAccrueByAnother(address sender) public {
        vm.assume(sender != address(meter));
        vm.prank(sender);
        vm.expectRevert(abi.encodeWithSelector(ILedger.OnlyMeter.selector, sender));
        ledger.accrue(asset, 1);
    }

    function testAccrueToUnknownAsset(uint256 other) public {
        vm.assume(other != asset);
        vm.prank(address(meter));
        vm.expectRevert(abi.encodeWithSelector(ILedger.UnknownAsset.selector, other));
        ledger.accrue(other, 1);
    }

    /// More than fits is refused where it comes in, so that it can never fail a transfer.
    function testAccrueMoreThanFits() public {
        vm.startPrank(address(meter));
        ledger.accrue(asset, (1 << 96) - 1);
        vm.expectRevert();
        ledger.accrue(asset, 1 << 60);
        vm.stopPrank();

        vm.prank(provider);
        ledger.transfer(affiliate, asset, GPU);
    }

    function testClaim(uint64 amount) public {
        amount = uint64(bound(amount, 40, type(uint64).max));
        _accrue(amount);
        uint256 own = ledger.revenueOf(asset, provider);
        assertApproxEqAbs(own, uint256(amount) * 7 / 40, 1);

        vm.expectEmit(address(ledger));
        emit ILedger.Claimed(asset, provider, own);
        vm.prank(relayer);
        assertEq(ledger.claim(asset, provider), own);

        assertEq(coin.balanceOf(provider), own);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NothingToClaim.selector, provider));
        ledger.claim(asset, provider);
    }

    function testClaimForALapsedMember() public {
        _accrue(1e6);
        skipTo(UNTIL);

        assertGt(ledger.claim(asset, provider), 0);
    }

    /// The commons' part is never paid to whom it would be lost with.
    function testClaimForTheCommons() public {
        _accrue(1e6);
        assertGt(ledger.revenueOf(asset, address(ledger)), 0);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NothingToClaim.selector, address(ledger)));
        ledger.claim(asset, address(ledger));
    }

    /// Nothing is paid to a key that is lost.
    function testClaimForAReplacedMember() public {
        _accrue(1e6);
        uint256 own = ledger.revenueOf(asset, provider);
        recover(provider, stranger);

        ledger.claim(asset, provider);

        assertEq(coin.balanceOf(stranger), own);
    }

    /// 34,836,480 of 2^-32 do not divide by the 40,000,000 micro-units, and wait: with them the next 30 are one for who holds
    /// a little less than a thirtieth then.
    function testRevenueThatWasCarriedIsTheNextHolders() public {
        _accrue(5);
        vm.prank(provider);
        ledger.transfer(affiliate, asset, 1_333_333);
        _accrue(30);

        assertEq(ledger.revenueOf(asset, affiliate), 1);
    }

    function testShareCommons(uint64 amount) public {
        amount = uint64(bound(amount, 1e3, type(uint64).max));
        _accrue(amount);
        uint256 part = ledger.revenueOf(asset, address(ledger));
        assertEq(members.groups(), 3);

        vm.expectEmit(address(ledger));
        emit ILedger.CommonsShared(asset, part, 3);
        ledger.shareCommons(asset);

        assertEq(ledger.commonsRevenueOf(provider), part / 3);
        assertEq(ledger.commonsRevenueOf(affiliate), part / 3, "also of a group that owns nothing");
        vm.expectEmit(address(ledger));
        emit ILedger.CommonsClaimed(affiliate, part / 3);
        ledger.claimCommons(affiliate);
        assertEq(coin.balanceOf(affiliate), part / 3);
        (uint256 accrued, uint256 claimed) = ledger.revenueTotals();
        assertEq(accrued, amount);
        assertEq(claimed, part / 3);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NothingToClaim.selector, affiliate));
        ledger.claimCommons(affiliate);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NothingToClaim.selector, address(ledger)));
        ledger.shareCommons(asset);
    }

    function testShareCommonsAmongNobody() public {
        _accrue(1e6);
        skipTo(UNTIL);
        members.lapse(provider);
        members.lapse(affiliate);
        members.lapse(developer);
        vm.expectRevert(abi.encodeWithSelector(ILedger.NoGroups.selector));
        ledger.shareCommons(asset);
    }

    /// Parts are of the groups of the moment: who joins another keeps what it has earned, who comes later begins at zero.
    function testShareCommonsAmongTheGroupsOfTheMoment() public {
        _share(1e9);
        uint256 third = ledger.commonsRevenueOf(affiliate);
        attach(affiliate, developer);
        _share(1e9);
        uint256 half = ledger.commonsRevenueOf(developer) - third;
        admit(stranger);

        assertEq(ledger.commonsRevenueOf(affiliate), third, "kept, and no more");
        assertApproxEqAbs(half, third * 3 / 2, 2);
        assertEq(ledger.commonsRevenueOf(stranger), 0);
        _share(1e9);
        assertApproxEqAbs(ledger.commonsRevenueOf(stranger), third, 2);
        detach(affiliate);
        _share(1e9);
        assertApproxEqAbs(ledger.commonsRevenueOf(affiliate), third + third * 3 / 4, 3, "a group again");
    }

    function testCommonsRevenueOfAReplacedRoot() public {
        _share(1e9);
        uint256 part = ledger.commonsRevenueOf(provider);
        recover(provider, stranger);

        assertEq(ledger.commonsRevenueOf(provider), 0);
        assertEq(ledger.commonsRevenueOf(stranger), part);
        _share(1e9);
        assertGt(ledger.commonsRevenueOf(stranger), part, "in its place among the groups");
    }

    function testRevenueOfARetiredAsset() public {
        vm.warp(EXPIRES + GRACE);
        ledger.retire(asset, _devices());
        _accrue(1e6);
        vm.prank(provider);
        ledger.transfer(affiliate, asset, 7 * GPU);
        _accrue(1e6);

        assertApproxEqAbs(ledger.revenueOf(asset, provider), uint256(1e6) * 7 / 40, 1);
        assertApproxEqAbs(
            ledger.revenueOf(asset, affiliate), uint256(1e6) * 7 / 40, 1, "late revenue goes to who owns it then"
        );
    }

    function _share(uint256 amount) private {
        _accrue(amount);
        ledger.shareCommons(asset);
    }

    function _accrue(uint256 amount) private {
        assertTrue(coin.transfer(address(access), amount));
        vm.prank(address(meter));
        ledger.accrue(asset, amount);
    }

    function _claim(uint256 j) private {
        uint256 paid = ledger.claim(asset, people[j]);
        owedParts[j] -= int256(paid * 40 * GPU);
    }

    /// `revenueOf` rounds down. The rest that an accrual carries, below one hundredth of the smallest unit here, is of who
    /// holds units at the next: so it can be one more than the model's amount rounded down, or one less.
    function _checkModel() private view {
        for (uint256 j; j < ACCOUNTS; ++j) {
            int256 told = int256(ledger.revenueOf(asset, people[j]) * 40 * GPU);
            assertLt(told, owedParts[j] + int256(uint256(40 * GPU)), "more than was earned");
            assertGt(told + int256(uint256(2 * 40 * GPU)), owedParts[j], "lost on the way");
        }
    }

    function _devices() private pure returns (bytes32[] memory devices) {
        devices = new bytes32[](1);
        devices[0] = keccak256(abi.encode("device", uint256(1)));
    }
}
