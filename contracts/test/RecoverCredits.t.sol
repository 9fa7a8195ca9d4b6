// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC6909} from "@openzeppelin/contracts/interfaces/IERC6909.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {Base} from "./Base.t.sol";

contract RecoverCreditsTest is Base {
    uint64 internal constant AMOUNT = 100_000;

    uint256 internal asset;
    uint256 internal id;
    uint256 internal later; // the same in the next window
    bytes32 internal lease;
    uint32 internal window;
    address internal successor;

    function setUp() public override {
        super.setUp();
        successor = _actor("successor");
        asset = register(machine(50 * GPU), noShares());
        window = access.currentWindow();
        id = open(asset, window, 0);
        later = open(asset, window + 1, 5);
        grant(id, developer, AMOUNT);
        buy(later, developer, AMOUNT);
    }

    /// Credits and leases go where the recovered member stands; the group's totals stay as they were.
    function testRecoverCredits(address sender, uint64 redeemed) public {
        redeemed = uint64(bound(redeemed, 1, AMOUNT - 1));
        attach(developer, affiliate);
        lease = redeem(developer, id, redeemed);
        recover(developer, successor);

        vm.expectEmit(address(access));
        emit IERC6909.Transfer(sender, developer, successor, id, AMOUNT - redeemed);
        vm.expectEmit(address(access));
        emit IERC6909.Transfer(sender, developer, successor, later, AMOUNT);
        vm.expectEmit(address(access));
        emit IAccess.LeaseRecovered(lease, developer, successor);
        vm.prank(sender);
        access.recover(developer, _ids(), _leases());

        assertEq(access.balanceOf(developer, id) + access.balanceOf(developer, later), 0);
        assertEq(access.balanceOf(successor, id), AMOUNT - redeemed);
        assertEq(access.balanceOf(successor, later), AMOUNT);
        assertEq(access.leaseOf(lease).holder, successor);
        _assertUse(window, developer, 0, 0);
        _assertUse(window, successor, AMOUNT, redeemed);
        _assertUse(window, affiliate, AMOUNT, redeemed);
        _assertUse(window + 1, developer, 0, 0);
        _assertUse(window + 1, successor, AMOUNT, 0);
        _assertUse(window + 1, affiliate, AMOUNT, 0);
    }

    /// A recovery adds nothing to the group: no limit has a say. // T-REX: recoveryAddress reverts below a lowered cap
    function testRecoverCreditsOverTheLimits() public {
        buy(open(asset, window, 1), affiliate, MOST_USED);
        registerMachine(developer, MOST_HELD);
        registerMachine(affiliate, MOST_HELD);
        attach(affiliate, developer);
        assertTrue(ledger.isOver(GPUS, developer));
        recover(developer, successor);

        access.recover(developer, _ids(), new bytes32[](0));

        assertEq(access.balanceOf(successor, id), AMOUNT);
        assertEq(access.acquiredBy(GPUS, window, successor), uint256(MOST_USED) + AMOUNT);
    }

    /// Nothing is counted twice when it comes in two steps. // stellar-contracts#886: a ghost balance after a recovery
    function testRecoverCreditsTwice() public {
        lease = redeem(developer, id, 10);
        recover(developer, successor);
        access.recover(developer, _ids(), _leases());
        vm.recordLogs();

        access.recover(developer, _ids(), _leases());

        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(access.balanceOf(successor, id), AMOUNT - 10);
        _assertUse(window, successor, AMOUNT, 10);
    }

    /// What was recovered is used as before, and a second recovery moves it on.
    function testRecoverCreditsAgain() public {
        address second = _actor("second");
        recover(developer, successor);
        access.recover(developer, _ids(), new bytes32[](0));
        lease = redeem(successor, later, 10);
        skipTo(uint256(window + 1) * WINDOW);
        recover(successor, second);

        access.recover(successor, _ids(), _leases());

        assertEq(access.leaseOf(lease).holder, second);
        assertEq(access.balanceOf(second, later), AMOUNT - 10);
        assertEq(access.balanceOf(second, id), AMOUNT, "of a window that is over");
        _assertUse(window + 1, second, AMOUNT, 10);
        _assertUse(window + 1, successor, 0, 0);
        redeem(second, later, AMOUNT - 10);
    }

    /// The totals of a window that is over stay as they were.
    function testRecoverCreditsOfAnEndedWindow() public {
        lease = redeem(developer, id, 10);
        recover(developer, successor);
        skipTo(uint256(window + 1) * WINDOW);

        access.recover(developer, _ids(), _leases());

        assertEq(access.balanceOf(successor, id), AMOUNT - 10);
        assertEq(access.leaseOf(lease).holder, successor);
        _assertUse(window, developer, AMOUNT, 10);
        _assertUse(window, successor, AMOUNT, 10);
    }

    function testRecoverCreditsToOneWhoCouldNotReceive() public {
        recover(developer, successor);
        refuseGifts(successor);
        skipTo(UNTIL); // the successor's membership, which is the member's, has lapsed

        access.recover(developer, _ids(), new bytes32[](0));

        assertEq(access.balanceOf(successor, id), AMOUNT);
    }

    function testRecoverCreditsOfOneWhoWasNotReplaced(address member) public {
        vm.assume(member != developer);
        recover(developer, successor);
        vm.expectRevert(abi.encodeWithSelector(IAccess.NotReplaced.selector, member));
        access.recover(member, _ids(), new bytes32[](0));
    }

    /// Leases of others stay where they are, and stop nobody.
    function testRecoverCreditsWithLeasesOfOthers(bytes32 unknown) public {
        grant(id, affiliate, 10);
        lease = redeem(affiliate, id, 10);
        vm.assume(unknown != lease);
        bytes32[] memory leases = new bytes32[](3);
        (leases[0], leases[1], leases[2]) = (lease, unknown, redeem(developer, id, 10));
        recover(developer, successor);

        access.recover(developer, _ids(), leases);

        assertEq(access.leaseOf(lease).holder, affiliate);
        assertEq(access.leaseOf(unknown).holder, address(0));
        assertEq(access.leaseOf(leases[2]).holder, successor);
    }

    /// Who has the lost key gets nothing out of the account, and nothing into it, neither itself nor through others.
    function testNothingMovesByALostKey(uint64 amount) public {
        amount = uint64(bound(amount, 0, AMOUNT));
        vm.startPrank(developer);
        access.setOperator(relayer, true);
        access.approve(relayer, id, AMOUNT);
        vm.stopPrank();
        recover(developer, successor);
        bytes memory reason = abi.encodeWithSelector(IMembers.Replaced.selector, developer, successor);

        vm.prank(developer);
        vm.expectRevert(reason);
        access.transfer(affiliate, id, amount);
        vm.prank(relayer);
        vm.expectRevert(reason);
        access.transferFrom(developer, affiliate, id, amount);
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IAccess.NotActiveMember.selector, developer));
        access.grant(id, developer, 1);
        IAccess.Redemption memory r = redemption(developer, id, 1);
        vm.prank(developer);
        vm.expectRevert(abi.encodeWithSelector(IAccess.NotActiveMember.selector, developer));
        access.redeem(r);
    }

    function _assertUse(uint32 window_, address account, uint256 acquired, uint256 redeemed) private view {
        assertEq(access.acquiredBy(GPUS, window_, account), acquired);
        assertEq(access.redeemedBy(GPUS, window_, account), redeemed);
    }

    function _ids() private view returns (uint256[] memory ids) {
        ids = new uint256[](2);
        (ids[0], ids[1]) = (id, later);
    }

    function _leases() private view returns (bytes32[] memory leases) {
        leases = new bytes32[](1);
        leases[0] = lease;
    }
}
