// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccess} from "../src/interfaces/IAccess.sol";
import {Base} from "./Base.t.sol";

/// Credits sent on, and the totals of every node of the tree of controllers.
contract UsesTest is Base {
    uint256 internal asset;
    uint256 internal id;
    uint32 internal window;

    function setUp() public override {
        super.setUp();
        asset = register(machine(50 * GPU), noShares());
        window = access.currentWindow();
        id = open(asset, window, 0);
    }

    /* SENT ON */

    function testTransferBetweenGroups(uint64 first, uint64 amount) public {
        first = uint64(bound(first, 1, MOST_USED));
        amount = uint64(bound(amount, 0, first));
        grant(id, developer, first);

        _transfer(developer, affiliate, amount);

        _assertAcquired(developer, first - amount);
        _assertAcquired(affiliate, amount);
        assertEq(access.issued(asset, window), first);
    }

    function testTransferOverTheUseLimit(uint64 first, uint64 amount) public {
        first = uint64(bound(first, 1, MOST_USED));
        amount = uint64(bound(amount, MOST_USED - first + 1, MOST_USED));
        grant(id, affiliate, first);
        grant(id, developer, amount);
        bytes memory reason = abi.encodeWithSelector(
            IAccess.OverUseLimit.selector, GPUS, window, affiliate, uint256(first) + amount, MOST_USED
        );
        _refuse(developer, affiliate, amount, reason);
        _transfer(developer, affiliate, MOST_USED - first);
    }

    /// What counts is the group: inside it, nothing is acquired. // T-REX: MaxBalance adds before it compares identities
    function testTransferInsideAGroupAtTheUseLimit(uint64 amount) public {
        amount = uint64(bound(amount, 0, MOST_USED));
        attach(affiliate, developer);
        grant(id, developer, MOST_USED);

        _transfer(developer, affiliate, amount);
        _transfer(affiliate, affiliate, amount);

        _assertAcquired(developer, MOST_USED);
        _assertAcquired(affiliate, amount);
        _transfer(affiliate, developer, amount);
        _assertAcquired(affiliate, 0);
    }

    /// A group over a limit sends on what it has, and gets nothing. // T-REX: a holder over a lowered cap is stuck
    function testTransferOutOfAGroupOverItsLimits(uint64 amount) public {
        amount = uint64(bound(amount, 1, MOST_USED));
        grant(id, developer, MOST_USED);
        grant(id, affiliate, MOST_USED);
        registerMachine(developer, MOST_HELD);
        registerMachine(affiliate, MOST_HELD);
        attach(affiliate, developer);
        address other = _actor("other");
        admit(other);

        _transfer(affiliate, other, amount);

        _assertAcquired(developer, 2 * uint256(MOST_USED) - amount);
        bytes memory reason = abi.encodeWithSelector(IAccess.HoldsOverLimit.selector, GPUS, developer);
        _refuse(other, affiliate, 1, reason);
        _transfer(developer, affiliate, 1);
    }

    /// ERC-6909 has no least amount. // T-REX: require(_value > 0)
    function testTransferOfNothing() public {
        _transfer(developer, affiliate, 0);
        _transfer(developer, developer, 0);
        _assertAcquired(affiliate, 0);
    }

    function testTransferToNoActiveMember(address to) public {
        vm.assume(to != address(0) && !isMember(to));
        grant(id, developer, 1);
        _refuse(developer, to, 1, abi.encodeWithSelector(IAccess.NotActiveMember.selector, to));
    }

    /// Who refuses gifts takes what it asks for, and what its own group sends.
    function testTransferToOneWhoRefusesGifts() public {
        uint256 sold = open(asset, window, 1);
        grant(id, developer, 10);
        refuseGifts(affiliate);

        _refuse(developer, affiliate, 1, abi.encodeWithSelector(IAccess.RefusesGifts.selector, affiliate));
        vm.prank(provider);
        vm.expectRevert(abi.encodeWithSelector(IAccess.RefusesGifts.selector, affiliate));
        access.grant(id, affiliate, 1);

        buy(sold, affiliate, 1);
        vm.prank(developer);
        access.approve(affiliate, id, 1);
        vm.prank(affiliate);
        access.transferFrom(developer, affiliate, id, 1);
        attach(affiliate, developer);
        _transfer(developer, affiliate, 1);
        assertEq(access.balanceOf(affiliate, id), 2);
    }

    /// Nobody counts what can no longer be used; who holds it is who is paid back.
    function testTransferInAnEndedWindow() public {
        grant(id, developer, MOST_USED);
        grant(id, affiliate, MOST_USED);
        skipTo(uint256(window + 1) * WINDOW);

        _transfer(developer, affiliate, MOST_USED);

        assertEq(access.balanceOf(affiliate, id), 2 * uint256(MOST_USED));
        _assertAcquired(affiliate, MOST_USED);
    }

    /* THE TREE */

    function testTotalsOfEveryNode(uint64 ofDeveloper, uint64 ofAffiliate, uint64 sent) public {
        ofDeveloper = uint64(bound(ofDeveloper, 2, MOST_USED / 2));
        ofAffiliate = uint64(bound(ofAffiliate, 1, MOST_USED / 2));
        sent = uint64(bound(sent, 1, ofAffiliate));
        attach(developer, affiliate);
        grant(id, developer, ofDeveloper);
        attach(affiliate, provider); // the developer is two hops away now
        grant(id, affiliate, ofAffiliate);
        redeem(developer, id, 1);
        _assertAcquired(developer, ofDeveloper);
        _assertAcquired(affiliate, uint256(ofDeveloper) + ofAffiliate);
        _assertAcquired(provider, uint256(ofDeveloper) + ofAffiliate);

        _transfer(affiliate, developer, sent);

        _assertAcquired(developer, uint256(ofDeveloper) + sent);
        _assertAcquired(affiliate, uint256(ofDeveloper) + ofAffiliate);
        assertEq(access.redeemedBy(GPUS, window, affiliate), 1);
        assertEq(access.redeemedBy(GPUS, window, provider), 1);

        detach(developer);

        _assertAcquired(developer, uint256(ofDeveloper) + sent);
        _assertAcquired(affiliate, ofAffiliate - sent);
        _assertAcquired(provider, ofAffiliate - sent);
        assertEq(access.redeemedBy(GPUS, window, developer), 1);
        assertEq(access.redeemedBy(GPUS, window, affiliate), 0);
        assertEq(access.redeemedBy(GPUS, window, provider), 0);
    }

    /// A group is not left with what it had and the limit of another beside it.
    function testTotalsOfAGroupThatLeavesWithItsMembers(uint64 amount) public {
        amount = uint64(bound(amount, 1, MOST_USED));
        attach(developer, affiliate);
        attach(affiliate, provider);
        grant(id, developer, amount);

        detach(affiliate);

        _assertAcquired(provider, 0);
        _assertAcquired(affiliate, amount);
        assertEq(members.rootOf(developer), affiliate);
        assertEq(access.useHeadroom(GPUS, window, developer), MOST_USED - amount);
    }

    function testTotalsOfARecoveredRoot(uint64 amount, uint64 redeemed) public {
        amount = uint64(bound(amount, 1, MOST_USED));
        redeemed = uint64(bound(redeemed, 1, amount));
        address successor = _actor("successor");
        attach(developer, affiliate);
        grant(id, developer, amount);
        redeem(developer, id, redeemed);

        recover(affiliate, successor);

        assertEq(members.rootOf(developer), successor);
        _assertAcquired(successor, amount);
        assertEq(access.redeemedBy(GPUS, window, successor), redeemed);
        assertEq(access.useHeadroom(GPUS, window, developer), MOST_USED - amount);
    }

    /// Joining, leaving and coming back leaves the books as they were.
    function testTotalsAfterAttachAndDetach(uint64 first, uint64 second) public {
        first = uint64(bound(first, 1, MOST_USED));
        second = uint64(bound(second, 1, MOST_USED));
        grant(id, developer, first);
        grant(id, affiliate, second);

        attach(developer, affiliate);
        _assertAcquired(affiliate, uint256(first) + second);
        detach(developer);
        _assertAcquired(affiliate, second);
        _assertAcquired(developer, first);
        attach(affiliate, developer);
        _assertAcquired(affiliate, second);
        _assertAcquired(developer, uint256(first) + second);
    }

    function testMergeDetachAndReplaceOnlyByMembers(address sender) public {
        vm.assume(sender != address(members));
        bytes memory reason = abi.encodeWithSelector(IAccess.OnlyMembers.selector, sender);
        address[] memory controllers = new address[](1);
        controllers[0] = affiliate;
        vm.startPrank(sender);
        vm.expectRevert(reason);
        access.merge(developer, affiliate);
        vm.expectRevert(reason);
        access.detach(developer, controllers);
        vm.expectRevert(reason);
        access.replace(developer, affiliate);
    }

    function _assertAcquired(address account, uint256 amount) private view {
        assertEq(access.acquiredBy(GPUS, window, account), amount);
    }

    function _transfer(address from, address to, uint256 amount) private {
        vm.prank(from);
        access.transfer(to, id, amount);
    }

    function _refuse(address from, address to, uint256 amount, bytes memory reason) private {
        vm.prank(from);
        vm.expectRevert(reason);
        access.transfer(to, id, amount);
    }
}
