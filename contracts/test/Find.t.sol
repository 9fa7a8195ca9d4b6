// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IMembers} from "../src/interfaces/IMembers.sol";
import {IQuorum} from "../src/interfaces/IQuorum.sol";
import {Signature} from "../src/interfaces/Types.sol";
import {Base} from "./Base.t.sol";

contract FindTest is Base {
    function testFind(bytes32 evidence) public {
        vm.assume(evidence != 0);
        IMembers.Finding memory f = IMembers.Finding(affiliate, provider, evidence, DEADLINE);
        Signature[] memory quorum = attested(hashOf(f));

        vm.expectEmit(address(members));
        emit IMembers.Attached(affiliate, provider, affiliate, provider, evidence);
        vm.prank(relayer);
        members.find(f, quorum);

        assertEq(members.rootOf(affiliate), provider);
    }

    function testFindOverTheLimitNeverFails() public {
        registerMachine(provider, MOST_HELD);
        registerMachine(affiliate, MOST_HELD);

        find(affiliate, provider);

        assertEq(ledger.heldBy(GPUS, provider), 2 * MOST_HELD);
        assertTrue(ledger.isOver(GPUS, affiliate));
    }

    /// loomchain 807: one owner ran several validators. What is found to be one is counted as one.
    function testFindJoinsWholeGroups() public {
        address wallet = _actor("wallet");
        admit(wallet);
        attach(wallet, affiliate);
        uint256 asset = registerMachine(wallet, GPU);
        uint256 id = open(asset, access.currentWindow(), 0);
        grant(id, wallet, 1);

        find(wallet, developer);

        assertEq(members.rootOf(affiliate), developer);
        assertEq(ledger.heldBy(GPUS, developer), GPU);
        assertEq(access.acquiredBy(GPUS, access.currentWindow(), developer), 1);
    }

    function testFindWithoutEvidence() public {
        IMembers.Finding memory f = IMembers.Finding(affiliate, provider, 0, DEADLINE);
        _refuse(f, abi.encodeWithSelector(IMembers.NoEvidence.selector));
    }

    function testFindInsideAGroup() public {
        find(affiliate, provider);
        IMembers.Finding memory f = IMembers.Finding(affiliate, provider, "more evidence", DEADLINE);
        _refuse(f, abi.encodeWithSelector(IMembers.SameGroup.selector, provider));
    }

    /// A finding is used once: else who left a group with a quorum's consent would be pulled back by what was found before.
    function testFindTwice() public {
        IMembers.Finding memory f = IMembers.Finding(affiliate, provider, "evidence", DEADLINE);
        members.find(f, attested(hashOf(f)));
        bytes memory used = abi.encodeWithSelector(IMembers.FindingUsed.selector, typed(membersDomain(), hashOf(f)));

        _refuse(f, used);
        detach(affiliate);
        _refuse(f, used);
        f.evidence = "what was seen since";
        members.find(f, attested(hashOf(f)));

        assertEq(members.rootOf(affiliate), provider);
    }

    /// What is found of a lost key is found of its successor.
    function testFindOfAReplacedMember() public {
        recover(affiliate, stranger);

        find(affiliate, provider);

        assertEq(members.rootOf(stranger), provider);
        (address controller,,,) = members.memberOf(stranger);
        assertEq(controller, provider);
    }

    /// Who is leaving one group and is found in another stays until the quorum finds otherwise: a departure that went on
    /// would take it out of the group that it was just found to belong to.
    function testFindElsewhereEndsADetachment() public {
        attach(affiliate, provider);
        startDetach(affiliate);
        IMembers.Finding memory f = IMembers.Finding(affiliate, developer, "evidence", DEADLINE);
        Signature[] memory quorum = attested(hashOf(f));

        vm.expectEmit(address(members));
        emit IMembers.DetachCancelled(affiliate);
        vm.expectEmit(address(members));
        emit IMembers.Attached(affiliate, developer, provider, developer, "evidence");
        members.find(f, quorum);

        assertEq(members.detachmentOf(affiliate), 0);
        assertEq(members.rootOf(affiliate), developer);
        skipTo(block.timestamp + DETACH_DELAY);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NothingStarted.selector, affiliate));
        members.completeDetach(affiliate);
    }

    function testFindNotMember(address account) public {
        vm.assume(!isMember(account));
        bytes memory reason = abi.encodeWithSelector(IMembers.NotMember.selector, account);
        _refuse(IMembers.Finding(account, provider, "evidence", DEADLINE), reason);
        _refuse(IMembers.Finding(provider, account, "evidence", DEADLINE), reason);
    }

    function testFindAfterDeadline(uint48 deadline) public {
        deadline = uint48(bound(deadline, 0, START - 1));
        _refuse(
            IMembers.Finding(affiliate, provider, "evidence", deadline),
            abi.encodeWithSelector(IQuorum.DeadlinePassed.selector, deadline, START)
        );
    }

    /// The quorum signs a direction and the evidence for it, nothing else.
    function testFindAnotherStatementThanSigned(bytes32 evidence) public {
        vm.assume(evidence != 0 && evidence != "evidence");
        Signature[] memory quorum = attested(hashOf(IMembers.Finding(affiliate, provider, "evidence", DEADLINE)));
        bytes memory bad = abi.encodeWithSelector(IQuorum.BadSignature.selector, quorum[0].signer);

        vm.expectRevert(bad);
        members.find(IMembers.Finding(provider, affiliate, "evidence", DEADLINE), quorum);
        vm.expectRevert(bad);
        members.find(IMembers.Finding(affiliate, developer, "evidence", DEADLINE), quorum);
        vm.expectRevert(bad);
        members.find(IMembers.Finding(affiliate, provider, evidence, DEADLINE), quorum);
    }

    /// An attachment that both sides would sign is no finding, whatever the attesters put under it.
    function testFindOnAnAttachmentsSignatures() public {
        bytes32 digest = typed(membersDomain(), hashOf(IMembers.Attachment(affiliate, provider, 1, DEADLINE)));
        Signature[] memory quorum = sign(_first(attesterKeys, THRESHOLD), digest);
        vm.expectRevert(abi.encodeWithSelector(IQuorum.BadSignature.selector, quorum[0].signer));
        members.find(IMembers.Finding(affiliate, provider, bytes32(uint256(1)), DEADLINE), quorum);
    }

    function _refuse(IMembers.Finding memory f, bytes memory reason) private {
        Signature[] memory quorum = attested(hashOf(f));
        vm.expectRevert(reason);
        members.find(f, quorum);
    }
}
