// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "forge-std/Vm.sol";

import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IQuorum} from "../src/interfaces/IQuorum.sol";
import {Standing} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

contract AttachTest is Base {
    function testAttach() public {
        IMembers.Attachment memory a = IMembers.Attachment(affiliate, provider, 0, DEADLINE);
        bytes32 digest = typed(membersDomain(), hashOf(a));

        vm.expectEmit(address(members));
        emit IMembers.Attached(affiliate, provider, affiliate, provider, bytes32(0));
        vm.prank(relayer);
        members.attach(a, sign(keyOf[affiliate], digest), sign(keyOf[provider], digest));

        (address controller, uint48 since, uint48 until,) = members.memberOf(affiliate);
        assertEq(controller, provider);
        assertEq(members.groups(), 2);
        assertEq(since, START);
        assertEq(until, UNTIL);
        assertEq(members.rootOf(affiliate), provider);
        assertEq(members.rootOf(provider), provider);
        assertEq(members.nonces(affiliate), 1);
    }

    /// (T-REX updateIdentity moves the wallet and not the balance, and locks it): what it owns and has acquired counts
    /// for the group in the same transaction.
    function testAttachMovesUnitsAndCredits(uint64 own, uint64 other, uint64 used, uint64 usedByOther) public {
        own = uint64(bound(own, 0, MOST_HELD));
        other = uint64(bound(other, 0, MOST_HELD));
        uint256 asset = register(machine(50 * GPU), twoShares(affiliate, own, provider, other));
        used = uint64(bound(used, 1, MOST_USED));
        usedByOther = uint64(bound(usedByOther, 1, MOST_USED));
        uint32 window = access.currentWindow() + HORIZON;
        uint256 id = open(asset, window, 0);
        grant(id, affiliate, used);
        grant(id, provider, usedByOther);
        redeem(affiliate, id, used);

        attach(affiliate, provider);

        assertEq(ledger.heldBy(GPUS, affiliate), own); // its own part of the group
        assertEq(ledger.heldBy(GPUS, provider), uint256(own) + other);
        assertEq(ledger.balanceOf(affiliate, asset), own);
        assertEq(access.acquiredBy(GPUS, window, affiliate), used);
        assertEq(access.acquiredBy(GPUS, window, provider), uint256(used) + usedByOther);
        assertEq(access.redeemedBy(GPUS, window, affiliate), used);
        assertEq(access.redeemedBy(GPUS, window, provider), used);
        assertEq(ledger.isOver(GPUS, affiliate), uint256(own) + other > MOST_HELD);
    }

    function testAttachOverTheLimitNeverFails() public {
        registerMachine(provider, MOST_HELD);
        uint256 asset = registerMachine(affiliate, MOST_HELD);

        attach(affiliate, provider);

        assertTrue(ledger.isOver(GPUS, provider));
        assertTrue(ledger.isOver(GPUS, affiliate));
        assertEq(ledger.headroom(GPUS, affiliate), 0);
        // It keeps what it owns, moves it inside, and sheds it; it only gains nothing.
        vm.startPrank(affiliate);
        ledger.transfer(provider, asset, GPU);
        ledger.transfer(developer, asset, GPU);
        vm.stopPrank();
        vm.prank(developer);
        vm.expectRevert(
            abi.encodeWithSelector(
                ILedger.OverHoldingLimit.selector, GPUS, provider, 2 * MOST_HELD - GPU + 1, MOST_HELD
            )
        );
        ledger.transfer(affiliate, asset, 1);
    }

    /// After the merge the group holds more seconds than its limit: it may use the limit, and give the rest away.
    function testAttachedGroupRedeemsNoMoreThanItsLimit() public {
        uint256 asset = registerMachine(developer, 50 * GPU);
        uint256 id = open(asset, access.currentWindow(), 0);
        grant(id, affiliate, MOST_USED);
        grant(id, provider, MOST_USED);
        attach(affiliate, provider);

        redeem(provider, id, MOST_USED);
        IAccess.Redemption memory r = redemption(affiliate, id, 1);
        uint32 window = access.currentWindow();
        vm.startPrank(affiliate);
        vm.expectRevert(
            abi.encodeWithSelector(IAccess.OverUseLimit.selector, GPUS, window, provider, MOST_USED + 1, MOST_USED)
        );
        access.redeem(r);
        access.transfer(developer, id, MOST_USED);
        assertEq(access.acquiredBy(GPUS, window, provider), MOST_USED);
    }

    function testAttachRootWithMembersOfItsOwn() public {
        address wallet = _actor("wallet");
        admit(wallet);
        attach(wallet, affiliate);
        attach(affiliate, provider);
        assertEq(members.rootOf(wallet), provider);

        // From the middle of a chain the whole group joins, and the two roots are who signs.
        attach(wallet, developer);

        assertEq(members.rootOf(wallet), developer);
        assertEq(members.rootOf(affiliate), developer);
        assertEq(members.rootOf(provider), developer);
        (address from, address to, Standing standing) = members.rootsOf(wallet, provider);
        assertEq(from, developer);
        assertEq(to, developer);
        assertEq(uint8(standing), uint8(Standing.ACTIVE));
        address[] memory path = members.pathOf(wallet);
        assertEq(path.length, 4);
        assertEq(path[0], wallet);
        assertEq(path[1], affiliate);
        assertEq(path[2], provider);
        assertEq(path[3], developer);
    }

    /// It says so on the chain, and only in the class where it is so.
    function testAttachOverTheLimitIsSeen(uint64 own, uint64 others) public {
        own = uint64(bound(own, 1, MOST_HELD));
        others = uint64(bound(others, MOST_HELD - own + 1, MOST_HELD));
        registerMachine(affiliate, own);
        registerMachine(provider, others);
        register(dataset(GPU), oneShare(affiliate, GPU));

        vm.recordLogs();
        attach(affiliate, provider);

        Vm.Log[] memory logs = vm.getRecordedLogs();
        uint256 found;
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].topics[0] != ILedger.OverLimit.selector) continue;
            ++found;
            assertEq(logs[i].topics[1], GPUS);
            assertEq(address(uint160(uint256(logs[i].topics[2]))), provider);
            assertEq(logs[i].data, abi.encode(own + others, MOST_HELD));
        }
        assertEq(found, 1);
    }

    function testAttachUpToTheLimitIsNotOver() public {
        registerMachine(affiliate, MOST_HELD / 2);
        registerMachine(provider, MOST_HELD / 2);
        vm.recordLogs();
        attach(affiliate, provider);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i; i < logs.length; ++i) {
            assertTrue(logs[i].topics[0] != ILedger.OverLimit.selector);
        }
        assertFalse(ledger.isOver(GPUS, provider));
    }

    function testAttachLapsedMember() public {
        address lapsing = _actor("lapsing");
        admit(lapsing, START + 1);
        vm.warp(START + 1);

        attach(lapsing, provider);

        assertEq(members.rootOf(lapsing), provider);
    }

    function testAttachWithoutOneOfTheSignatures(uint256 key) public {
        key = bound(key, 1, SECP256K1_N - 1);
        vm.assume(key != keyOf[provider] && key != keyOf[affiliate]);
        IMembers.Attachment memory a = IMembers.Attachment(affiliate, provider, 0, DEADLINE);
        bytes32 digest = typed(membersDomain(), hashOf(a));
        bytes memory ofMember = sign(keyOf[affiliate], digest);
        bytes memory ofController = sign(keyOf[provider], digest);
        bytes memory other = sign(key, digest);

        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadSignature.selector, affiliate));
        members.attach(a, other, ofController);
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadSignature.selector, provider));
        members.attach(a, ofMember, other);
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadSignature.selector, affiliate));
        members.attach(a, ofController, ofMember);
        members.attach(a, ofMember, ofController);
    }

    /// A controlled wallet cannot take its group elsewhere: only the root speaks for it.
    function testAttachSignedByAControlledMember() public {
        attach(affiliate, provider);
        IMembers.Attachment memory a = IMembers.Attachment(affiliate, developer, 1, DEADLINE);
        bytes32 digest = typed(membersDomain(), hashOf(a));
        bytes memory ofMember = sign(keyOf[affiliate], digest);
        bytes memory ofController = sign(keyOf[developer], digest);
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadSignature.selector, provider));
        members.attach(a, ofMember, ofController);
    }

    function testAttachSameGroup() public {
        attach(affiliate, provider);
        attach(developer, provider);
        _refuse(affiliate, developer, 1, DEADLINE, abi.encodeWithSelector(IMembers.SameGroup.selector, provider));
        _refuse(affiliate, provider, 1, DEADLINE, abi.encodeWithSelector(IMembers.SameGroup.selector, provider));
        _refuse(provider, affiliate, 0, DEADLINE, abi.encodeWithSelector(IMembers.SameGroup.selector, provider));
        _refuse(provider, provider, 0, DEADLINE, abi.encodeWithSelector(IMembers.SameGroup.selector, provider));
    }

    function testAttachNotMember() public {
        _refuse(stranger, provider, 0, DEADLINE, abi.encodeWithSelector(IMembers.NotMember.selector, stranger));
        _refuse(provider, stranger, 0, DEADLINE, abi.encodeWithSelector(IMembers.NotMember.selector, stranger));
    }

    function testAttachWrongNonce(uint256 nonce) public {
        vm.assume(nonce != 0);
        bytes memory reason = abi.encodeWithSelector(Nonces.InvalidAccountNonce.selector, affiliate, 0);
        _refuse(affiliate, provider, nonce, DEADLINE, reason);
    }

    function testAttachAfterDeadline(uint48 deadline) public {
        deadline = uint48(bound(deadline, 0, START - 1));
        bytes memory reason = abi.encodeWithSelector(IQuorum.DeadlinePassed.selector, deadline, START);
        _refuse(affiliate, provider, 0, deadline, reason);
    }

    function testAttachInTheLastSecond() public {
        IMembers.Attachment memory a = IMembers.Attachment(affiliate, provider, 0, START);
        bytes32 digest = typed(membersDomain(), hashOf(a));
        members.attach(a, sign(keyOf[affiliate], digest), sign(keyOf[provider], digest));

        assertEq(members.rootOf(affiliate), provider);
    }

    function testAttachOfAnotherDomain(uint64 chainId, address verifier) public {
        vm.assume(chainId != block.chainid && verifier != address(members));
        IMembers.Attachment memory a = IMembers.Attachment(affiliate, provider, 0, DEADLINE);
        _refuseSigned(a, domainOf("Commonhold Members", chainId, address(members)));
        _refuseSigned(a, domainOf("Commonhold Members", block.chainid, verifier));
    }

    function testMergeOnlyMembers(address sender) public {
        vm.assume(sender != address(members));
        vm.startPrank(sender);
        vm.expectRevert(abi.encodeWithSelector(ILedger.OnlyMembers.selector, sender));
        ledger.merge(provider, developer);
        vm.expectRevert(abi.encodeWithSelector(IAccess.OnlyMembers.selector, sender));
        access.merge(provider, developer);
    }

    function _refuseSigned(IMembers.Attachment memory a, bytes32 domain) private {
        bytes memory ofMember = sign(keyOf[a.member], typed(domain, hashOf(a)));
        bytes memory ofController = sign(keyOf[a.controller], typed(domain, hashOf(a)));
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadSignature.selector, a.member));
        members.attach(a, ofMember, ofController);
    }

    function _refuse(address member, address controller, uint256 nonce, uint48 deadline, bytes memory reason) private {
        IMembers.Attachment memory a = IMembers.Attachment(member, controller, nonce, deadline);
        bytes32 digest = typed(membersDomain(), hashOf(a));
        bytes memory ofMember = sign(keyOf[members.rootOf(member)], digest);
        bytes memory ofController = sign(keyOf[members.rootOf(controller)], digest);
        vm.expectRevert(reason);
        members.attach(a, ofMember, ofController);
    }
}
